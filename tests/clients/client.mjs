// A client of Digital River's API in JavaScript, on fetch: a small library as a merchant would write it, and one order's life.
// It knows nothing of orderflow. `node client.mjs URL KEY NAME`; what it saw is JSON on stdout.

class ApiError extends Error {
  constructor(status, body) {
    const first = body.errors[0];
    super(first.message);
    this.seen = [status, body.type, first.code ?? null, first.parameter ?? null];
  }
}

class DigitalRiver {
  constructor(url, key) {
    this.url = url;
    this.headers = {
      authorization: `Bearer ${key}`,
      "digitalriver-version": "2021-12-13",
      "content-type": "application/json",
    };
  }

  /** Send one request; lists among the parameters are exploded, objects are deep. */
  async call(method, path, body, query = {}) {
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (Array.isArray(value)) value.forEach((one) => parameters.append(name, one));
      else if (typeof value === "object")
        Object.entries(value).forEach(([operator, part]) => parameters.append(`${name}[${operator}]`, part));
      else parameters.append(name, value);
    }
    const answer = await fetch(`${this.url}${path}${parameters.size ? `?${parameters}` : ""}`, {
      method,
      headers: this.headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    const found = text ? JSON.parse(text) : {};
    if (!answer.ok) throw new ApiError(answer.status, found);
    return found;
  }
}

async function refused(promise) {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApiError) return error.seen;
    throw error;
  }
  return ["not refused"];
}

/** The life of an order: SKU, customer, checkout, source, order, fulfilments, refund, return. */
async function live(river, name) {
  const sku = `sku-${name}`;
  const customer = `customer-${name}`;
  const goods = { taxCode: "4323.310_A", countryOfOrigin: "US", eccn: "EAR99" };
  await river.call("PUT", `/skus/${sku}`, {
    ...goods, name: "Keyboard", weight: 1.5, weightUnit: "lb", metadata: { colour: "black" },
  });
  await river.call("POST", "/customers", { id: customer, email: "pat@example.org" });
  const address = { line1: "1 Test Rd", city: "Minneapolis", state: "MN", postalCode: "55401", country: "US" };
  const party = { name: "Pat Doe", email: "pat@example.org", address };
  const checkout = await river.call("POST", "/checkouts", {
    currency: "USD",
    email: "pat@example.org",
    customerId: customer,
    upstreamId: name,
    billTo: party,
    shipTo: party,
    shipFrom: { address: { country: "US", postalCode: "55344" } },
    shippingChoice: { amount: 5, description: "standard", serviceLevel: "SG" },
    items: [{ skuId: sku, quantity: 3, price: 10 }],
  });
  const source = await river.call("POST", `/checkouts/${checkout.id}/sources/sim-card-${name}`);
  const placed = await river.call("POST", "/orders", { checkoutId: checkout.id });
  const order = placed.id;
  const item = placed.items[0].id;
  const expanded = (await river.call("GET", `/orders/${order}`, undefined, { expand: true })).items[0].productDetails;
  for (const quantity of [2, 1])
    await river.call("POST", "/fulfillments", {
      orderId: order, items: [{ itemId: item, quantity }], trackingNumber: "1Z",
    });
  const charge = await river.call("GET", `/charges/${placed.payment.charges[0].id}`);
  const refund = await river.call("POST", "/refunds", { orderId: order, currency: "USD", amount: 1.25, reason: "late" });
  const back = await river.call("POST", "/returns", { orderId: order, items: [{ itemId: item, quantity: 3 }] });
  const accepted = await river.call("POST", `/returns/${back.id}`, { state: "accepted" });
  const final = await river.call("GET", `/orders/${order}`);
  const other = (await river.call("POST", "/skus", { ...goods, id: `other-${name}`, name: "Mouse" })).id;

  const list = async (path, query) => (await river.call("GET", path, undefined, query)).data;
  const both = [other, sku].sort().join();
  const ids = async (value) => (await list("/skus", { ids: value })).map((one) => one.id).sort().join();
  const first = await river.call("GET", "/events", undefined, { limit: 2, type: "order.*" });
  const after = first.data.at(-1).id;
  const following = await list("/events", { limit: 2, type: "order.*", startingAfter: after });
  const since = (time) => list("/orders", { upstreamIds: [name], createdTime: { gte: time } });
  const cents = charge.captures.reduce((sum, one) => sum + Math.round(one.amount * 100), 0);
  return {
    total: placed.totalAmount,
    source: source.state,
    placed: placed.state,
    expanded: [expanded.physical, expanded.metadata],
    captures: [charge.captures.length, cents / 100],
    refund: refund.orderId === order,
    refunds: (await list("/refunds", { orderId: order, state: "succeeded" })).length,
    return: accepted.state,
    final: [final.state, final.refundedAmount],
    exploded: (await ids([sku, other])) === both,
    commas: (await ids(`${sku},${other}`)) === both,
    one: (await ids([sku])) === sku,
    since: [(await since("2000-01-01T00:00:00Z")).length, (await since("2100-01-01T00:00:00Z")).length],
    amounts: (await list("/orders", { upstreamIds: name, totalAmount: { gt: 30, lt: 40 } })).length,
    pages: [first.data.length, first.hasMore, first.data[0].id !== following[0].id],
    consumed: await refused(river.call("POST", "/orders", { checkoutId: checkout.id })),
    unknown: await refused(river.call("GET", "/orders", undefined, { colour: "red" })),
    missing: await refused(river.call("GET", "/orders/nowhere")),
    method: await refused(river.call("DELETE", `/orders/${order}`)),
    shipped: await refused(
      river.call("POST", "/fulfillments", { orderId: order, items: [{ itemId: item, quantity: 1 }] }),
    ),
    key: (await refused(new DigitalRiver(river.url, "wrong").call("GET", "/orders"))).slice(0, 1),
  };
}

const [url, key, name] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await live(new DigitalRiver(url, key), name)));
