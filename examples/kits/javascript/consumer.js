// Builds the table of latest orders from the state changes, and prints it when nothing has come for three seconds.
// node consumer.js BOOTSTRAP PREFIX
import {Kafka, logLevel} from 'kafkajs'
import './lz4.js'

const [bootstrap, prefix] = process.argv.slice(2)
const kafka = new Kafka({brokers: [bootstrap], clientId: 'kit', logLevel: logLevel.ERROR})
const reader = kafka.consumer({groupId: `${prefix}kit-javascript`}) // read_committed, unless told otherwise
// What the table keeps: not payment_session and next_action, which are the shopper's secrets.
const kept = ['sequence', 'payment', 'amounts', 'attention', 'digital_river', 'lines', 'shipments', 'refunds', 'returns', 'documents']
const table = {}
const end = () => { console.log(JSON.stringify(table)); process.exit(0) }
let idle

reader.on(reader.events.CRASH, ({payload}) => { console.error(payload.error); process.exit(1) }) // else it ends with 0
await reader.connect()
await reader.subscribe({topic: `${prefix}order-state-changes`, fromBeginning: true})
await reader.run({eachMessage: async ({message}) => {
  clearTimeout(idle)
  idle = setTimeout(end, 3000)
  const {type, data: change} = JSON.parse(message.value)
  if (type !== 'order.state_changed') return
  const row = table[change.order_id] ??= {sequence: 0, lines: [], shipments: [], refunds: [], returns: [], documents: []}
  if (change.sequence <= row.sequence) return // it was delivered again
  for (const name of kept) if (name in change) row[name] = change[name]
  row.state = change.to
  row.refunds = row.refunds.map(({token, token_expires, ...shown}) => shown)
}})
