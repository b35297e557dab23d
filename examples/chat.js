'use strict'

// A chat without a server: every typed line is put, and every device shows what any of them put.
//
//   node examples/chat.js -s ./alice                  prints a key
//   node examples/chat.js -s ./bob -k <that key>      in another terminal, or on another machine
//
// Whoever knows the key may join: the second asks, and the first lets it write.
// `-n` gives a name, `--bootstrap <host:port>` another DHT than the public one, `--host <address>` what to listen on.

const path = require('node:path')
const readline = require('node:readline')
const { parseArgs } = require('node:util')
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const MultiHyperbee = require('..')

const { values: options } = parseArgs({
  options: {
    storage: { type: 'string', short: 's' },
    key: { type: 'string', short: 'k' },
    name: { type: 'string', short: 'n' },
    bootstrap: { type: 'string', multiple: true },
    host: { type: 'string' }
  }
})

async function main() {
  if (options.storage === undefined)
    throw new Error(
      'usage: node examples/chat.js -s <directory> [-k <key>] [-n <name>] [--bootstrap <host:port>]'
    )
  const name = options.name ?? path.basename(options.storage)
  const db = new MultiHyperbee(options.storage, options.key === undefined ? {} : { key: options.key })
  await db.ready()

  db.on('access-request', (request) => letIn(request))

  const { bootstrap, host } = options
  const swarm = new Hyperswarm({ dht: new DHT({ bootstrap, host }) })
  swarm.on('connection', (connection) => db.replicate(connection))
  // Who looks for us before the network knows of us finds nobody, and looks again only after a while.
  const announced = swarm.join(db.discoveryKey).flushed()
  announced.then(() => console.log(`Others join with: -k ${db.key.toString('hex')}`))

  const shown = show(db)
  if (!db.writable) await becomeWriter(db, name)
  await readLines(db, name)

  await swarm.destroy()
  await db.close()
  await shown
}

async function becomeWriter(db, name) {
  console.log('Asking to be let in ...')
  await db.requestAccess({ name })
  await db.waitForWritable()
  console.log('You are in: type a line.')
}

/** Prints every message, those of the past first, until the database is closed. */
async function show(db) {
  const messages = db.createHistoryStream({ live: true, gte: 1 })
  db.once('close', () => messages.destroy())
  const seen = new Set()
  try {
    for await (const { type, key, value } of messages) {
      if (type !== 'put' || seen.has(key)) continue
      seen.add(key)
      console.log(`${value.name}: ${value.text}`)
    }
  } catch (error) {
    if (!db.closed) throw error
  }
}

async function readLines(db, name) {
  const writer = db.local.key.toString('hex').slice(0, 8)
  for await (const text of readline.createInterface({ input: process.stdin })) {
    // The position in the own feed makes the key unique, the time makes keys sort.
    const key = `message/${new Date().toISOString()}/${writer}/${db.local.length}`
    if (text !== '') await db.put(key, { name, text })
  }
}

async function letIn(request) {
  try {
    await request.accept()
    console.log(`${request.userData?.name ?? 'Somebody'} is here.`)
  } catch (error) {
    // Whoever cannot be let in ends no chat.
    console.error(error.message)
  }
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
