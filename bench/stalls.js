'use strict'

// How long a reader keeps the event loop from turning: the longest gap between two turns while one read goes on, with
// the file's pages not in memory. Where there is no GNU dd to drop them, they are, and the line says so.

const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const MultiHyperbee = require('..')

/** Asks the system to forget the pages of a file that nobody has mapped. */
function forget(file) {
  const args = [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']
  if (spawnSync('dd', args).status !== 0) return false
  const { status, stdout } = spawnSync('fincore', ['--bytes', '--noheadings', '--output', 'RES', file], {
    encoding: 'utf8'
  })
  // A few pages stay when the system is about to write or read them.
  return status !== 0 || Number(stdout) < fs.statSync(file).size / 20
}

/** The longest gap between two turns of the event loop, and how long all of it took. */
async function gaps(read) {
  let longest = 0
  let reading = true
  let last = performance.now()
  const start = last
  const turn = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (reading) setImmediate(turn)
  }
  setImmediate(turn)
  const count = await read()
  reading = false
  turn()
  return { count, ms: performance.now() - start, longest }
}

async function looped(stream) {
  let count = 0
  for await (const entry of stream) count += entry ? 1 : 0
  return count
}

function flowing(stream) {
  return new Promise((resolve, reject) => {
    let count = 0
    stream.on('data', () => count++)
    stream.on('end', () => resolve(count))
    stream.on('error', reject)
  })
}

const READS = {
  'for await': (db) => looped(db.createReadStream()),
  'data events': (db) => flowing(db.createReadStream()),
  'data events, reverse': (db) => flowing(db.createReadStream({ reverse: true })),
  'an old version': (db) => looped(db.checkout(Math.floor(db.version / 2)).createReadStream()),
  history: (db) => flowing(db.createHistoryStream())
}

/** Each read of the closed database in `location`, from disk. */
async function* stalls(location) {
  for (const [name, read] of Object.entries(READS)) {
    const cold = forget(path.join(location, 'data.mdb'))
    const db = new MultiHyperbee(location)
    await db.ready()
    const { longest, ...ours } = await gaps(() => read(db))
    await db.close()
    const note = `the event loop stood still for ${longest.toFixed(1)} ms at most`
    yield { what: `read stream${cold ? ', cold' : ''}: ${name}`, ours, note }
  }
}

module.exports = { stalls }

async function main() {
  for await (const { what, ours, note } of stalls(process.argv[2])) {
    console.log(what, ours.count, `${ours.ms.toFixed(0)} ms`, note)
  }
}

if (require.main === module) main()
