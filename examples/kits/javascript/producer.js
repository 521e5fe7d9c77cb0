// Sends the events of one order, and waits for the refusal of one that breaks the contract.
// node producer.js BOOTSTRAP PREFIX REFUSALS ORDER_ID
import {Kafka, Partitioners, logLevel} from 'kafkajs'
import './lz4.js'

const [bootstrap, prefix, refusals, order] = process.argv.slice(2)
const kafka = new Kafka({brokers: [bootstrap], clientId: 'kit', logLevel: logLevel.ERROR})
// The default partitioner is that of the Java client; the one called legacy is not.
const producer = kafka.producer({idempotent: true, createPartitioner: Partitioners.DefaultPartitioner})
const reader = kafka.consumer({groupId: `${prefix}kit-refusals-${order}`}) // read_committed, unless told otherwise

const to = {name: 'Mia Lund', line1: '12 Harbor Street', city: 'Minneapolis', state: 'MN', postal_code: '55401', country: 'US'}
const cart = {currency: 'USD', locale: 'en_US', email: 'mia@example.com', customer: {kind: 'guest'}, bill_to: to, ship_to: to,
  ship_from: {country: 'US', postal_code: '78701'}, shipping: {amount: '4.95', description: 'parcel', service_level: 'SG'},
  items: [{line: '1', sku_id: 'mug-blue', quantity: 2, price: '9.50'}]} // money: text with the currency's digits
const send = (topic, type, data, name) => producer.send({topic: prefix + topic, acks: -1, messages: [{key: order,
  value: JSON.stringify({specversion: '1.0', id: `${order}-${name}`, source: '/kit/javascript', type, subject: order, data})}]})

await producer.connect()
await send('checkout-events', 'checkout.requested', cart, 'cart')
await send('checkout-events', 'checkout.source_provided', {source_id: `sim-card-${order}`}, 'source')
await send('order-events', 'order.placed', {terms_accepted: false}, 'refused') // the shopper must accept them
await send('order-events', 'order.placed', {terms_accepted: true}, 'placed')
await send('fulfillment-events', 'fulfillment.shipped', {shipment_id: `P-${order}`, items: [{line: '1', quantity: 2}]}, 'parcel')
await producer.disconnect()
reader.on(reader.events.CRASH, ({payload}) => { console.error(payload.error); process.exit(1) }) // else it ends with 0
await reader.connect()
await reader.subscribe({topic: prefix + refusals, fromBeginning: true})
await reader.run({eachMessage: async ({message}) => {
  const event = JSON.parse(message.value)
  if (event.type !== 'order.event_refused' || event.data.cause.id !== `${order}-refused`) return
  console.log(JSON.stringify(event.data))
  process.exit(0)
}})
