'use strict'

// A reader holds the event loop up for a slice of its work, never for all of it. How long the longest slice is,
// `npm run bench` measures; here only that there are several is asked for, which no slow machine can fail.

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, collect } = require('./helpers.js')

const KEYS = 60_000
const AT_ONCE = 5_000

/** What takes less need not give way at all. */
const SHORT_MS = 20
/** Nothing reads this many entries in less than that many slices. */
const WHOLE_TURNS = 3

const key = (n) => `k${String(n).padStart(6, '0')}`

async function many(write) {
  for (let n = 0; n < KEYS; n += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => write(n + i)))
  }
}

/** How often the event loop turns while something is read, how long that takes, and what was read. */
async function turnsDuring(read) {
  let turns = 0
  let reading = true
  const turn = () => {
    turns++
    if (reading) setImmediate(turn)
  }
  setImmediate(turn)
  const since = performance.now()
  const result = await read()
  reading = false
  return { turns, result, ms: performance.now() - since }
}

const flowing = (stream) =>
  new Promise((resolve, reject) => {
    let count = 0
    stream.on('data', () => count++)
    stream.on('end', () => resolve(count))
    stream.on('error', reject)
  })
const loop = async (stream) => (await collect(stream)).length

test('long reads let the event loop turn, however they are consumed and whatever they pass over', async (t) => {
  const db = await open(t)
  await many((n) => db.put(key(n), { n }))
  const diffs = await db.getDiff()
  const whole = {
    'a loop': () => loop(db.createReadStream()),
    'data events': () => flowing(db.createReadStream()),
    'data events, reverse': () => flowing(db.createReadStream({ reverse: true })),
    history: () => loop(db.createHistoryStream()),
    'history, data events': () => flowing(db.createHistoryStream({ reverse: true })),
    'a comparison': () => flowing(db.createDiffStream(0)),
    'diffs by key': () => loop(diffs.createReadStream()),
    'diffs by seq': () => flowing(diffs.createHistoryStream())
  }
  const nothing = {
    'an old version': () => loop(db.checkout(0).createReadStream()),
    'an old version, reverse': () => loop(db.checkout(0).createReadStream({ reverse: true })),
    'the history of a sub': () => loop(db.sub('nothing').createHistoryStream())
  }
  const check = async (reads, count) => {
    for (const [name, read] of Object.entries(reads)) {
      const { turns, result, ms } = await turnsDuring(read)
      assert.equal(result, count, name)
      const enough = count > 0 ? WHOLE_TURNS : ms < SHORT_MS ? 0 : 1
      assert.ok(turns >= enough, `${name}: ${turns} turns in ${ms} ms`)
    }
  }
  await check(whole, KEYS)
  await check(nothing, 0)
  await many((n) => db.del(key(n)))
  await check(
    {
      'deleted keys': () => loop(db.createReadStream()),
      'deleted keys, data events': () => flowing(db.createReadStream({ reverse: true })),
      peek: async () => ((await db.peek()) === null ? 0 : 1)
    },
    0
  )
})

test('a stream that gave way is ended by destroy, by close and by its loop all the same', async (t) => {
  const db = await open(t)
  await many((n) => db.put(key(n), { n }))
  for (const end of [(stream) => stream.destroy(), (stream) => stream.destroy(new Error('enough'))]) {
    const stream = db.createReadStream()
    stream.on('error', () => {})
    stream.on('data', () => setImmediate(end, stream))
    await new Promise((resolve) => stream.on('close', resolve))
  }
  let last = 0
  for await (const { seq } of db.createReadStream()) if ((last = seq) === 20_000) break
  assert.equal(last, 20_000)
  const reading = collect(db.checkout(0).createReadStream({ reverse: true }))
  const closing = db.close()
  await assert.rejects(reading, { code: 'ERR_CLOSED' })
  await closing
})

test('a live history of a sub goes on behind what was written elsewhere', async (t) => {
  const db = await open(t)
  const sub = db.sub('s')
  await sub.put('1', { n: 1 })
  const live = sub.createHistoryStream({ live: true })[Symbol.asyncIterator]()
  assert.equal((await live.next()).value.key, '1')
  const next = live.next()
  for (let n = 0; n < 20; n++) await db.put(`other${n}`, { n })
  await sub.put('2', { n: 2 })
  const { key: found, seq } = (await next).value
  assert.deepEqual([found, seq], ['2', 22])
  await live.return()
})
