<?php
// A client of Digital River's API in PHP, on curl: a small library as a merchant would write it, and one order's life.
// It knows nothing of orderflow. `php client.php URL KEY NAME`; what it saw is JSON on stdout.

declare(strict_types=1);

final class ApiError extends RuntimeException
{
    public readonly array $seen;

    public function __construct(int $status, array $body)
    {
        $first = $body['errors'][0];
        parent::__construct($first['message']);
        $this->seen = [$status, $body['type'], $first['code'] ?? null, $first['parameter'] ?? null];
    }
}

final class DigitalRiver
{
    public function __construct(public readonly string $url, private readonly string $key)
    {
    }

    /** Send one request; http_build_query writes lists as ids[0]=a&ids[1]=b, objects as name[gte]=x, and true as 1. */
    public function call(string $method, string $path, ?array $body = null, array $query = []): array
    {
        $handle = curl_init($this->url . $path . ($query ? '?' . http_build_query($query) : ''));
        curl_setopt_array($handle, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 10,
            CURLOPT_HTTPHEADER => [
                "Authorization: Bearer {$this->key}",
                'DigitalRiver-Version: 2021-12-13',
                'Content-Type: application/json',
            ],
        ]);
        if ($body !== null) {
            curl_setopt($handle, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
        }
        $text = curl_exec($handle);
        if ($text === false) {
            throw new RuntimeException(curl_error($handle));
        }
        $status = curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
        $found = $text === '' ? [] : json_decode($text, true, 512, JSON_THROW_ON_ERROR);
        if ($status >= 400) {
            throw new ApiError($status, $found);
        }
        return $found;
    }
}

function refused(callable $call): array
{
    try {
        $call();
    } catch (ApiError $error) {
        return $error->seen;
    }
    return ['not refused'];
}

/** The life of an order: SKU, customer, checkout, source, order, fulfilments, refund, return. */
function live(DigitalRiver $river, string $name): array
{
    $sku = "sku-$name";
    $customer = "customer-$name";
    $goods = ['taxCode' => '4323.310_A', 'countryOfOrigin' => 'US', 'eccn' => 'EAR99'];
    $river->call('PUT', "/skus/$sku", $goods + [
        'name' => 'Keyboard', 'weight' => 1.5, 'weightUnit' => 'lb', 'metadata' => ['colour' => 'black'],
    ]);
    $river->call('POST', '/customers', ['id' => $customer, 'email' => 'pat@example.org']);
    $address = [
        'line1' => '1 Test Rd', 'city' => 'Minneapolis', 'state' => 'MN', 'postalCode' => '55401', 'country' => 'US',
    ];
    $party = ['name' => 'Pat Doe', 'email' => 'pat@example.org', 'address' => $address];
    $checkout = $river->call('POST', '/checkouts', [
        'currency' => 'USD',
        'email' => 'pat@example.org',
        'customerId' => $customer,
        'upstreamId' => $name,
        'billTo' => $party,
        'shipTo' => $party,
        'shipFrom' => ['address' => ['country' => 'US', 'postalCode' => '55344']],
        'shippingChoice' => ['amount' => 5, 'description' => 'standard', 'serviceLevel' => 'SG'],
        'items' => [['skuId' => $sku, 'quantity' => 3, 'price' => 10]],
    ]);
    $source = $river->call('POST', "/checkouts/{$checkout['id']}/sources/sim-card-$name");
    $placed = $river->call('POST', '/orders', ['checkoutId' => $checkout['id']]);
    $order = $placed['id'];
    $item = $placed['items'][0]['id'];
    $expanded = $river->call('GET', "/orders/$order", null, ['expand' => true])['items'][0]['productDetails'];
    foreach ([2, 1] as $quantity) {
        $items = [['itemId' => $item, 'quantity' => $quantity]];
        $river->call('POST', '/fulfillments', ['orderId' => $order, 'items' => $items, 'trackingNumber' => '1Z']);
    }
    $charge = $river->call('GET', "/charges/{$placed['payment']['charges'][0]['id']}");
    $asked = ['orderId' => $order, 'currency' => 'USD', 'amount' => 1.25, 'reason' => 'late'];
    $refund = $river->call('POST', '/refunds', $asked);
    $returned = ['orderId' => $order, 'items' => [['itemId' => $item, 'quantity' => 3]]];
    $back = $river->call('POST', '/returns', $returned);
    $accepted = $river->call('POST', "/returns/{$back['id']}", ['state' => 'accepted']);
    $final = $river->call('GET', "/orders/$order");
    $other = $river->call('POST', '/skus', $goods + ['id' => "other-$name", 'name' => 'Mouse'])['id'];

    $list = fn (string $path, array $query): array => $river->call('GET', $path, null, $query)['data'];
    $ids = function (mixed $value) use ($list): array {
        $found = array_column($list('/skus', ['ids' => $value]), 'id');
        sort($found);
        return $found;
    };
    $both = [$sku, $other];
    sort($both);
    $first = $river->call('GET', '/events', null, ['limit' => 2, 'type' => 'order.*']);
    $after = end($first['data'])['id'];
    $following = $list('/events', ['limit' => 2, 'type' => 'order.*', 'startingAfter' => $after]);
    $since = fn (string $time): int => count($list('/orders', ['upstreamIds' => [$name], 'createdTime' => ['gte' => $time]]));
    $again = ['orderId' => $order, 'items' => [['itemId' => $item, 'quantity' => 1]]];
    return [
        'total' => $placed['totalAmount'],
        'source' => $source['state'],
        'placed' => $placed['state'],
        'expanded' => [$expanded['physical'], $expanded['metadata']],
        'captures' => [count($charge['captures']), round(array_sum(array_column($charge['captures'], 'amount')), 2)],
        'refund' => $refund['orderId'] === $order,
        'refunds' => count($list('/refunds', ['orderId' => $order, 'state' => 'succeeded'])),
        'return' => $accepted['state'],
        'final' => [$final['state'], $final['refundedAmount']],
        'exploded' => $ids([$sku, $other]) === $both,
        'commas' => $ids("$sku,$other") === $both,
        'one' => $ids([$sku]) === [$sku],
        'since' => [$since('2000-01-01T00:00:00Z'), $since('2100-01-01T00:00:00Z')],
        'amounts' => count($list('/orders', ['upstreamIds' => $name, 'totalAmount' => ['gt' => 30, 'lt' => 40]])),
        'pages' => [count($first['data']), $first['hasMore'], $first['data'][0]['id'] !== $following[0]['id']],
        'consumed' => refused(fn () => $river->call('POST', '/orders', ['checkoutId' => $checkout['id']])),
        'unknown' => refused(fn () => $river->call('GET', '/orders', null, ['colour' => 'red'])),
        'missing' => refused(fn () => $river->call('GET', '/orders/nowhere')),
        'method' => refused(fn () => $river->call('DELETE', "/orders/$order")),
        'shipped' => refused(fn () => $river->call('POST', '/fulfillments', $again)),
        'key' => array_slice(refused(fn () => (new DigitalRiver($river->url, 'wrong'))->call('GET', '/orders')), 0, 1),
    ];
}

[, $url, $key, $name] = $argv;
echo json_encode(live(new DigitalRiver($url, $key), $name), JSON_THROW_ON_ERROR);
