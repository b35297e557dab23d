'use strict'

// What comes and goes, again and again, and what of it stays: descriptors, threads, reader slots, memory.

const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const v8 = require('node:v8')
const vm = require('node:vm')
const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')
const MultiHyperbee = require('../..')

v8.setFlagsFromString('--expose-gc')
const gc = vm.runInNewContext('gc')

/** A slot of LMDB's reader table: transaction 8, process 4, and what fills a cache line. */
const SLOT = 64
const IDLE = 0xffff_ffff_ffff_ffffn

const HERE = JSON.stringify(path.join(__dirname, '..', '..'))

/** Is ended by us in the middle of whatever it does. */
const WORKER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const MultiHyperbee = require(${HERE})
  const main = async () => {
    const db = new MultiHyperbee(workerData.folder)
    const other = new MultiHyperbee(':memory:', { key: workerData.key })
    const one = db.replicate(true)
    one.pipe(other.replicate(false)).pipe(one)
    for (let n = 0; ; n++) {
      await db.put('by a worker/' + n % 10, { n })
      for await (const entry of db.createReadStream({ limit: 3 })) if (entry.key === '') break
      parentPort.postMessage(n)
    }
  }
  main()`

/** Read transactions of this process that a store has open: from the file that LMDB keeps them in. */
function readersOf(folder) {
  const table = fs.readFileSync(path.join(folder, 'lock.mdb'))
  let count = 0
  for (let at = 0; at + SLOT <= table.length; at += SLOT) {
    if (table.readUInt32LE(at + 8) === process.pid && table.readBigUInt64LE(at) !== IDLE) count++
  }
  return count
}

/** What the process has now, after everything that can go has gone. */
async function held() {
  for (let n = 0; n < 3; n++) {
    gc()
    await sleep(20)
  }
  const status = fs.readFileSync('/proc/self/status', 'latin1')
  return {
    descriptors: fs.readdirSync('/proc/self/fd').length,
    threads: fs.readdirSync('/proc/self/task').length,
    mib: Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)[1]) / 1024
  }
}

/** As `held`, once descriptors and threads are no more than `before` says; else what they are in the end. */
async function settled(before) {
  for (let n = 0; n < 100; n++) {
    const now = await held()
    if (now.descriptors <= before.descriptors && now.threads <= before.threads) return now
    await sleep(50)
  }
  return held()
}

/** Opens, writes, reads, closes: a store on disk, one in memory, by turns. */
async function opens(folder, times, tell = () => {}) {
  for (let n = 0; n < times; n++) {
    const db = new MultiHyperbee(n % 2 === 0 ? folder : ':memory:')
    await db.put(`key/${n % 10}`, { n })
    await db.get(`key/${n % 10}`)
    await db.close()
    tell(n + 1)
  }
}

/** Streams of every kind that nobody reads to their end. */
async function streams(db, times, tell = () => {}) {
  const begun = db.version
  for (let n = 0; n < times; n++) {
    const kinds = [
      db.createReadStream(),
      db.createHistoryStream(),
      db.createHistoryStream({ live: true }),
      db.createDiffStream(Math.max(1, begun - 20)),
      db.snapshot().createReadStream()
    ]
    const stream = kinds[n % kinds.length]
    for (const other of kinds) if (other !== stream) other.destroy()
    const values = stream[Symbol.asyncIterator]()
    await values.next()
    await values.next()
    stream.destroy()
    tell(n + 1)
  }
}

/** Connections that are cut wherever they are. */
async function connections(a, b, times, tell = () => {}) {
  const server = net.createServer()
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  for (let n = 0; n < times; n++) {
    const client = net.connect(server.address().port, '127.0.0.1')
    const [[socket]] = await Promise.all([once(server, 'connection'), once(client, 'connect')])
    const ends = [a.replicate(client), b.replicate(socket)]
    const over = ends.map((end) => new Promise((resolve) => end.once('close', resolve)))
    await a.put(`sent/${n % 10}`, { n, text: 'x'.repeat(n % 7 === 0 ? 100_000 : 10) })
    if (n % 3 > 0) await sleep(n % 10)
    for (const end of n % 2 === 0 ? [client] : [socket, client]) end.destroy()
    await Promise.all(over)
    socket.destroy()
    tell(n + 1)
  }
  await new Promise((resolve) => server.close(resolve))
}

/** Worker threads that are ended in the middle of what they do. */
async function workers(folder, key, times, tell = () => {}) {
  for (let n = 0; n < times; n++) {
    const worker = new Worker(WORKER, { eval: true, workerData: { folder, key } })
    let failure = null
    worker.on('error', (error) => (failure = error))
    const enough = n % 4
    await new Promise((resolve) => {
      worker.on('exit', resolve)
      worker.on('message', (done) => done >= enough && resolve())
    })
    await worker.terminate()
    if (failure) throw failure
    tell(n + 1)
  }
}

module.exports = { readersOf, held, settled, opens, streams, connections, workers }
