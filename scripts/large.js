'use strict'

// A database of very many keys: imported, scanned and synced, each in a process of its own, in bounded memory:
// `npm run soak:large -- --keys 10000000`. What counts is the memory that is the process's own (RssAnon): pages of the
// file that are mapped are the system's to take back. `--dir` where its files go (they are removed), `--bound` the most
// MiB that any of it may take, `--encrypted`.

const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const { parseArgs } = require('node:util')
const MultiHyperbee = require('..')

/** Puts of one batch. */
const BATCH = 10_000
const SAMPLE_MS = 100
const BOUND_MIB = 256

const { values: given } = parseArgs({
  options: {
    keys: { type: 'string', default: '10000000' },
    dir: { type: 'string', default: os.tmpdir() },
    bound: { type: 'string', default: String(BOUND_MIB) },
    encrypted: { type: 'boolean', default: false },
    phase: { type: 'string' }
  }
})
const keys = Number(given.keys)
const encryption = given.encrypted ? { encryptionKey: Buffer.alloc(32, 7) } : {}
const keyOf = (n) => `user/${String(n).padStart(10, '0')}`

/** What the process holds that no file backs, in MiB. */
function ownMemory() {
  const status = fs.readFileSync('/proc/self/status', 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)[1]) / 1024
}

/** Says how far `what` is, once a second, where somebody looks. */
function teller(what) {
  const begun = Date.now()
  let last = 0
  return (done) => {
    if (!process.stderr.isTTY && done < keys && Date.now() - last < 10_000) return
    if (done < keys && Date.now() - last < 1_000) return
    last = Date.now()
    const rate = Math.round(done / Math.max(0.001, (Date.now() - begun) / 1000))
    process.stderr.write(`${what}: ${done} of ${keys}, ${rate} a second, ${Math.round(ownMemory())} MiB\n`)
  }
}

const phases = {
  async import({ from }) {
    const db = new MultiHyperbee(from, encryption)
    const tell = teller('import')
    for (let n = 0; n < keys; n += BATCH) {
      const batch = db.batch()
      for (let i = n; i < Math.min(keys, n + BATCH); i++) {
        batch.put(keyOf(i), { name: `name of ${i}`, at: i, tags: ['a', 'b'] })
      }
      await batch.flush()
      tell(Math.min(keys, n + BATCH))
    }
    await db.close()
  },

  async scan({ from }) {
    const db = new MultiHyperbee(from, encryption)
    const tell = teller('scan')
    let seen = 0
    for await (const { key, value } of db.createReadStream()) {
      if (key !== keyOf(seen) || value.at !== seen) throw new Error(`${key} where ${keyOf(seen)} should be`)
      seen++
      if (seen % BATCH === 0) tell(seen)
    }
    if (seen !== keys) throw new Error(`${seen} of ${keys} keys`)
    await db.close()
  },

  async serve({ from }) {
    const db = new MultiHyperbee(from, encryption)
    await db.ready()
    const server = net.createServer((socket) => db.replicate(socket))
    server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port, key: db.key }))
    process.once('message', async () => {
      await db.close()
      server.close()
    })
    await once(server, 'close')
  },

  async fetch({ to, port, key }) {
    const db = new MultiHyperbee(to, { key: Buffer.from(key.data), ...encryption })
    await db.ready()
    const socket = net.connect(port, '127.0.0.1')
    const stream = db.replicate(socket)
    const tell = teller('sync')
    const have = () => db.status().feeds.reduce((sum, feed) => sum + feed.have, 0)
    while (have() < keys + 1) {
      if (stream.destroyed) throw new Error('the connection ended')
      tell(have())
      await sleep(200)
    }
    await db.flush()
    tell(keys)
    let seen = 0
    for await (const entry of db.createReadStream({ limit: 1000 })) {
      if (entry.key !== keyOf(seen++)) throw new Error(`${entry.key} is not what was written`)
    }
    if ((await db.get(keyOf(keys - 1)))?.value.at !== keys - 1) throw new Error('the last key is not there')
    await db.close()
  }
}

/** A phase in a process of its own. Resolves to what it said, or to what it took once it is over. */
function start(phase, work) {
  const args = process.argv.slice(2).concat('--phase', phase)
  const child = fork(__filename, args, { stdio: 'inherit' })
  const over = new Promise((resolve, reject) => {
    child.on('message', (message) => message.took && resolve(message.took))
    child.on('exit', (code) => reject(new Error(`${phase} ended with ${code}`)))
  })
  over.catch(() => {})
  child.send(work)
  return { child, over }
}

async function runPhase(phase) {
  const [work] = await once(process, 'message')
  const begun = Date.now()
  let most = 0
  const watch = setInterval(() => (most = Math.max(most, ownMemory())), SAMPLE_MS)
  await phases[phase](work)
  clearInterval(watch)
  const took = { phase, seconds: (Date.now() - begun) / 1000, most: Math.max(most, ownMemory()) }
  await new Promise((resolve) => process.send({ took }, resolve))
  process.disconnect()
}

async function main() {
  if (!Number.isInteger(keys) || keys < 1 || !(Number(given.bound) > 0)) {
    throw new Error('--keys and --bound take whole numbers')
  }
  const folder = fs.mkdtempSync(path.join(given.dir, 'multi-hyperbee-large-'))
  process.once('SIGINT', () => process.exit(130))
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
  const [from, to] = ['from', 'to'].map((name) => path.join(folder, name))
  const all = []
  for (const phase of ['import', 'scan']) all.push(await start(phase, { from }).over)
  const serving = start('serve', { from })
  const [{ port, key }] = await once(serving.child, 'message')
  all.push(await start('fetch', { to, port, key }).over)
  serving.child.send('enough')
  all.push(await serving.over)
  const bytes = fs.statSync(path.join(from, 'data.mdb')).blocks * 512
  for (const { phase, seconds, most } of all) {
    console.log(
      `${phase.padEnd(7)} ${seconds.toFixed(1)} s, ${Math.round(keys / seconds)} keys a second, at most ${Math.round(most)} MiB`
    )
  }
  console.log(`${keys} keys, ${Math.round(bytes / keys)} bytes on disk each`)
  const over = all.filter(({ most }) => most > Number(given.bound))
  if (over.length > 0) throw new Error(`more than ${given.bound} MiB: ${over.map(({ phase }) => phase)}`)
}

if (!fs.existsSync('/proc/self/status')) {
  console.error('memory is measured where /proc is: on Linux')
  process.exit(2)
}
const done = given.phase ? runPhase(given.phase) : main()
done.catch((error) => {
  console.error(error)
  process.exit(1)
})
