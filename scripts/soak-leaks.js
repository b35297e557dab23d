'use strict'

// The long run of `__test__/leaks.test.js`: 10,000 opens and closes, as many streams that are destroyed halfway, 2,000
// connections that are cut, 200 worker threads that are ended. `npm run soak:leaks`, with `-- --opens N --streams N
// --connections N --workers N` for others. Each is done in ten equal parts; after the second, by when caches are full,
// nothing may grow: not descriptors, threads or reader slots at all, memory by no more than is said here.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { parseArgs } = require('node:util')
const MultiHyperbee = require('..')
const leaks = require('../__test__/support/leaks.js')

const PARTS = 10
/** What memory may have grown by after the last part, against what it was after the second. */
const SLACK_MIB = 32

const number = (value) => ({ type: 'string', default: String(value) })
const { values } = parseArgs({
  options: {
    opens: number(10_000),
    streams: number(10_000),
    connections: number(2_000),
    workers: number(200)
  }
})

/** Runs `work` in parts; says what is held after each. */
async function soak(name, times, folder, work) {
  const part = Math.max(1, Math.round(times / PARTS))
  const held = []
  for (let n = 0; n < PARTS; n++) {
    const tell = (done) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${name}: ${n * part + done} of ${part * PARTS} `)
    }
    await work(part, tell)
    const now = held.length < 2 ? await leaks.held() : await leaks.settled(held[1])
    held.push({ ...now, readers: fs.existsSync(path.join(folder, 'lock.mdb')) ? leaks.readersOf(folder) : 0 })
    const { descriptors, threads, readers, mib } = held.at(-1)
    if (process.stderr.isTTY) process.stderr.write('\r')
    console.log(
      `${name}: ${(n + 1) * part} of ${part * PARTS}; ${descriptors} descriptors, ${threads} threads, ` +
        `${readers} readers, ${mib.toFixed(1)} MiB`
    )
  }
  const [, second] = held
  const last = held.at(-1)
  for (const what of ['descriptors', 'threads', 'readers']) {
    if (last[what] > second[what]) throw new Error(`${name}: ${second[what]} ${what} became ${last[what]}`)
  }
  if (last.mib - second.mib > SLACK_MIB) {
    throw new Error(`${name}: ${second.mib.toFixed(1)} MiB became ${last.mib.toFixed(1)}`)
  }
}

async function main() {
  for (const value of Object.values(values)) {
    if (!/^[1-9]\d*$/.test(value)) throw new Error(`${value} is no count`)
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'multi-hyperbee-leaks-'))
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }))
  process.once('SIGINT', () => process.exit(130))
  await soak('opens', Number(values.opens), folder, (times, tell) => leaks.opens(folder, times, tell))
  const a = new MultiHyperbee(folder)
  for (let n = 0; n < 100; n++) await a.put(`stream/${n}`, { n })
  await soak('streams', Number(values.streams), folder, (times, tell) => leaks.streams(a, times, tell))
  const b = new MultiHyperbee(':memory:', { key: a.key })
  await b.ready()
  await soak('connections', Number(values.connections), folder, (times, tell) => {
    return leaks.connections(a, b, times, tell)
  })
  await b.close()
  await soak('workers', Number(values.workers), folder, (times, tell) => {
    return leaks.workers(folder, a.key, times, tell)
  })
  await a.close()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
