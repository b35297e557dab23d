'use strict'

// Worker threads that come and go, and processes that end by themselves or stay up for what they accepted.

const test = require('node:test')
const assert = require('node:assert/strict')
const path = require('node:path')
const { once } = require('node:events')
const { execFile } = require('node:child_process')
const { promisify } = require('node:util')
const { Worker } = require('node:worker_threads')
const { open, directory, collect } = require('./helpers.js')

const HERE = JSON.stringify(path.join(__dirname, '..'))
const run = promisify(execFile)

/** A worker that opens the store, acknowledges writes for as long as it lives, and is ended by us. */
const WRITER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const MultiHyperbee = require(${HERE})
  const main = async () => {
    const db = new MultiHyperbee(workerData.folder)
    for (let n = 0; ; n++) {
      await Promise.all([0, 1, 2].map((i) => db.put(workerData.round + '/' + n + '/' + i, { n })))
      parentPort.postMessage(n)
    }
  }
  main()`

test('worker threads: open, write, terminate, open again, in a loop', { timeout: 60_000 }, async (t) => {
  const folder = directory(t)
  const acknowledged = []
  for (let round = 0; round < 8; round++) {
    const worker = new Worker(WRITER, { eval: true, workerData: { folder, round } })
    const failures = []
    worker.on('error', (error) => failures.push(error))
    const enough = 1 + (round % 4)
    await new Promise((resolve) => {
      worker.on('exit', resolve)
      worker.on('message', (n) => {
        acknowledged.push(`${round}/${n}/0`)
        if (n === enough) resolve()
      })
    })
    await worker.terminate()
    assert.deepEqual(failures, [])
  }
  const db = await open(t, folder)
  const keys = new Set((await collect(db.createReadStream())).map((entry) => entry.key))
  assert.ok(acknowledged.length >= 16)
  for (const key of acknowledged) assert.ok(keys.has(key), `${key} was acknowledged`)
})

test('a store that is open here is shared with a worker, which may end without closing it', async (t) => {
  const folder = directory(t)
  const db = await open(t, folder)
  await db.put('here', { n: 1 })
  const worker = new Worker(WRITER, { eval: true, workerData: { folder, round: 'w' } })
  await once(worker, 'message')
  await worker.terminate()
  assert.equal((await db.get('w/0/0')).value.n, 0)
  assert.equal(await db.put('still here', { n: 2 }), true)
})

/** Runs a program that must end by itself, without a word on standard error. */
async function runs(source) {
  const program = `const MultiHyperbee = require(${HERE})\n${source}`
  const { stdout, stderr } = await run(process.execPath, ['-e', program], { timeout: 20_000 })
  assert.equal(stderr, '')
  return stdout.trim()
}

test('a process ends by itself after close, whatever was open', async () => {
  const source = `const main = async () => {
      const a = new MultiHyperbee(':memory:')
      await a.put('k', { n: 1 })
      const b = new MultiHyperbee(':memory:', { key: a.key })
      await b.ready()
      a.createHistoryStream({ live: true }).on('error', () => {}).resume()
      const waiting = b.waitForWritable().catch((error) => error.code)
      const feed = a.local.get(99).catch((error) => error.code)
      const one = a.replicate(true)
      one.pipe(b.replicate(false)).pipe(one)
      await Promise.all([a.close(), b.close()])
      console.log(await waiting, await feed)
    }
    main()`
  assert.equal(await runs(source), 'ERR_CLOSED ERR_CLOSED')
})

test('a process that is killed loses nothing that was acknowledged', { timeout: 60_000 }, async (t) => {
  const folder = directory(t)
  let next = 0
  for (let round = 0; round < 4; round++) {
    const source = `const MultiHyperbee = require(${HERE})
      const main = async () => {
        const db = new MultiHyperbee(${JSON.stringify(folder)})
        for (let n = ${next}; ; n++) {
          await db.put('k' + n, { n })
          console.log(n)
        }
      }
      main()`
    const child = execFile(process.execPath, ['-e', source])
    const enough = next + 20 + round
    let tail = ''
    child.stdout.on('data', (text) => {
      const lines = (tail + text).split('\n')
      tail = lines.pop()
      for (const line of lines) next = Number(line) + 1
      if (next > enough) child.kill('SIGKILL')
    })
    const [, signal] = await once(child, 'close')
    assert.equal(signal, 'SIGKILL')
    assert.ok(next > enough)
  }
  const db = await open(t, folder)
  for (let n = 0; n < next; n++) assert.equal((await db.get(`k${n}`))?.value.n, n)
  assert.equal(await db.put('after', { n: 1 }), true)
})
