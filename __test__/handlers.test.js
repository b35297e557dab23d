'use strict'

// `mergeHandler` and `resolver`: every sentence of docs/guide.md and docs/design/handlers.md that a user can see.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const path = require('node:path')
const { execFile } = require('node:child_process')
const { promisify } = require('node:util')
const {
  MultiHyperbee,
  open,
  openWriter,
  connect,
  converge,
  collect,
  directory,
  plain
} = require('./helpers.js')

/** Adds up what every diff adds to `n`. */
const counter = () => ({
  merge(diff, { current }) {
    return { n: (current?.n ?? 0) + (diff.list.add?.n ?? 0) }
  },
  genDiff(old, value) {
    const by = value.n - (old.n ?? 0)
    return by === 0 ? null : { list: { add: { n: by } } }
  }
})

/** Two replicas, the second granted, that have met; each with its own functions. */
async function pair(t, options) {
  const a = await open(t, ':memory:', options())
  const b = await openWriter(t, a, options())
  await meet(a, b)
  return [a, b]
}

async function meet(a, b) {
  const streams = connect(a, b)
  await converge(a, b)
  if (!b.writable) await b.waitForWritable({ timeout: 10_000 })
  for (const stream of streams) stream.destroy()
}

const value = async (db, key = 'k') => {
  const entry = await db.get(key)
  return entry === null ? null : plain(entry.value)
}

test('an object as the third argument, a class, or an option; both made with the database', async (t) => {
  const merge = (diff, { current }) => ({ ...current, ...diff.list.add, merged: true })
  const third = await open(t, ':memory:', { name: 'x' }, { merge })
  let made = null
  class Handler {
    constructor(db) {
      made = db
    }
    async merge(diff, context) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      return merge(diff, context)
    }
  }
  const byClass = await open(t, ':memory:', {}, Handler)
  assert.equal(made, byClass)
  const option = await open(t, ':memory:', { mergeHandler: { merge } })
  for (const db of [third, byClass, option]) {
    assert.equal(await db.put('k', { a: 1 }), true)
    assert.deepEqual(await value(db), { a: 1, merged: true })
  }
})

test('what is no handler is refused, saying what to pass', async (t) => {
  for (const bad of [3, 'x', () => {}, {}, { merge: 3 }, { merge() {}, genDiff: 1 }]) {
    assert.throws(() => new MultiHyperbee(':memory:', {}, bad), {
      code: 'ERR_OPTIONS',
      message: /mergeHandler/
    })
  }
  assert.throws(() => new MultiHyperbee(':memory:', { resolver: {} }), {
    code: 'ERR_OPTIONS',
    message: /resolver/
  })
  const db = new MultiHyperbee(':memory:', {}, class {})
  t.after(() => db.close())
  await assert.rejects(db.ready(), { code: 'ERR_OPTIONS', message: /merge\(diff/ })
})

test('merge gets the diff, the key, the value so far, the diffs so far, and what would be merged', async (t) => {
  const calls = []
  const merge = (diff, { key, current, diffs, merged }) => {
    calls.push({ diff, key, current, diffs, merged })
    return { ...merged, seen: diffs.length }
  }
  const db = await open(t, ':memory:', {}, { merge })
  await db.put('k', { list: ['x'] })
  const { value: read } = await db.get('k')
  read.list.push('y')
  await db.put('k', read)
  assert.deepEqual(await value(db), { list: ['x', 'y'], seen: 2 })
  assert.equal(calls.length, 2)
  const [first, second] = calls
  assert.deepEqual([first.key, first.current, first.diff.list], ['k', null, { add: { list: ['x'] } }])
  assert.deepEqual(first.diffs, [first.diff])
  assert.deepEqual(plain(second.current), { list: ['x'], seen: 1 })
  assert.equal(second.current._objectId, 'k')
  assert.equal(second.current._timestamp.startsWith(first.diff._timestamp), true)
  assert.deepEqual(second.diffs, [first.diff, second.diff])
  assert.equal(second.diff.obj._prevTimestamp, first.diff._timestamp)
  assert.deepEqual(plain(second.merged), { list: ['x', 'y'], seen: 1 })
  const union = await collect(db.createUnionStream('k'))
  assert.deepEqual(
    union.map((entry) => entry.value),
    second.diffs
  )
})

test('what merge is given can be read only until it has returned', async (t) => {
  let kept
  const db = await open(t, ':memory:', {}, { merge: (diff, context) => ((kept = context), { a: 1 }) })
  await db.put('k', { a: 1 })
  assert.throws(() => kept.merged, { code: 'ERR_MERGE' })
  assert.throws(() => kept.diffs, { code: 'ERR_MERGE' })
})

test('concurrent diffs reach every replica in one order, and all converge', async (t) => {
  const merge = (diff, { current }) => ({ log: [...(current?.log ?? []), diff.list.add.by] })
  const [a, b] = await pair(t, () => ({ mergeHandler: { merge } }))
  await a.put('k', { by: 'a1' })
  await b.put('k', { by: 'b1' })
  await a.put('k', { by: 'a2' })
  await b.put('k', { by: 'b2' })
  await meet(a, b)
  const { log } = await value(a)
  assert.deepEqual(log.toSorted(), ['a1', 'a2', 'b1', 'b2'])
  assert.deepEqual(await value(b), { log })
  const timestamps = (await collect(a.createUnionStream('k'))).map((entry) => entry.value._timestamp)
  assert.deepEqual(timestamps, timestamps.toSorted())
  assert.deepEqual(await a.stateHash(), await b.stateHash())
})

test('genDiff makes the diff of a put: a counter that loses no increment', async (t) => {
  const [a, b] = await pair(t, () => ({ mergeHandler: counter() }))
  await a.put('k', { n: 1 })
  await meet(a, b)
  for (const [db, by] of [
    [a, 2],
    [b, 3],
    [a, 4]
  ]) {
    const { value: read } = await db.get('k')
    read.n += by
    assert.equal(await db.put('k', read), true)
  }
  await meet(a, b)
  assert.deepEqual([await value(a), await value(b)], [{ n: 10 }, { n: 10 }])
  // Null: nothing has changed, and nothing is written.
  const { length } = a.local
  assert.equal(await a.put('k', (await a.get('k')).value), false)
  assert.equal(await a.put('k', { n: 10 }), false)
  assert.equal(a.local.length, length)
  // What was read is what it is compared with, though another value came meanwhile.
  const { value: old } = await a.get('k')
  await a.put('k', { n: 20 })
  old.n += 1
  await a.put('k', old)
  assert.deepEqual(await value(a), { n: 21 })
})

test('genDiff alone: the built-in merge with diffs of the user', async (t) => {
  const seen = []
  const genDiff = (old, now) => {
    seen.push([old, now])
    return { list: { add: { a: now.a } } }
  }
  const db = await open(t, ':memory:', {}, { genDiff })
  await db.put('k', { a: 1, dropped: true })
  await db.put('k', { a: 2 })
  assert.deepEqual(seen, [
    [{}, { a: 1, dropped: true }],
    [{ a: 1 }, { a: 2 }]
  ])
  assert.deepEqual(await value(db), { a: 2 })
})

test('what genDiff gives is validated as _diff is, and what it throws is the caller’s', async (t) => {
  let answer
  const genDiff = () => {
    if (answer instanceof Error) throw answer
    return answer
  }
  const db = await open(t, ':memory:', {}, { ...counter(), genDiff })
  for (answer of [3, 'x', { list: 3 }, { list: { nonsense: {} } }, { list: { add: { _timestamp: 'x' } } }]) {
    await assert.rejects(db.put('k', { n: 1 }), { code: 'ERR_INVALID_VALUE' })
  }
  answer = new RangeError('mine')
  await assert.rejects(db.put('k', { n: 1 }), (error) => error === answer)
  assert.equal(db.local.length, 1)
  answer = { list: { add: { n: 5 } } }
  await db.put('k', { n: 1 })
  // The caller's own diff comes first.
  await db.put('k', { n: 1, _diff: { list: { add: { n: 7 } } } })
  assert.deepEqual(await value(db), { n: 12 })
})

test('genDiff in a batch and with cas', async (t) => {
  const db = await open(t, ':memory:', {}, counter())
  await db.put('k', { n: 1 })
  const batch = db.batch()
  await batch.put('k', { n: 3 })
  await batch.put('k', { n: 6 })
  await batch.put('other', { n: 1 })
  await batch.del('other')
  await batch.put('other', { n: 4 })
  assert.equal(await batch.put('k', { n: 6 }), false)
  await batch.flush()
  assert.deepEqual([await value(db), await value(db, 'other')], [{ n: 6 }, { n: 4 }])
  const diffs = (await collect(db.createUnionStream('k'))).map((entry) => entry.value.list.add.n)
  assert.deepEqual(diffs, [1, 2, 3])
  assert.equal(await db.put('k', { n: 9 }, { cas: (prev) => prev.value.n === 5 }), false)
  assert.equal(await db.put('k', { n: 9 }, { cas: (prev) => prev.value.n === 6 }), true)
  assert.deepEqual(await value(db), { n: 9 })
  const receipt = await db.put('k', { n: 10 }, { receipt: true })
  assert.deepEqual(receipt, { key: db.local.key, length: db.local.length })
})

for (const [what, bad, message] of [
  [
    'throws',
    () => {
      throw new Error('no idea\nat all')
    },
    /no idea;/
  ],
  ['rejects', () => Promise.reject(new Error('later')), /later;/],
  [
    'throws what is no error',
    () => {
      // eslint-disable-next-line no-throw-literal -- what users may do
      throw 'text'
    },
    /text;/
  ],
  ['returns nothing', () => undefined, /parameter is required/],
  ['returns null', () => null, /parameter is required/],
  ['returns a text', () => 'text', /JSON object/],
  [
    'returns a function in an object with a cycle',
    () => {
      const o = {}
      o.o = o
      return o
    },
    /cannot be encoded/
  ],
  ['returns half a character', () => ({ a: '\ud800' }), /surrogate/],
  [
    'returns a value too deep',
    () => JSON.parse('{"a":'.repeat(70) + '1' + '}'.repeat(70)),
    /cannot be stored/
  ]
]) {
  test(`a handler that ${what}: the diff is kept, the key keeps its value, error names both`, async (t) => {
    const folder = directory(t)
    let broken = true
    const handler = {
      merge: (diff, context) => (broken && diff.list.add.n === 2 ? bad() : counter().merge(diff, context))
    }
    const db = await open(t, folder, {}, handler)
    const errors = []
    db.on('error', (error) => errors.push(error))
    await db.put('k', { n: 1 })
    assert.equal(await db.put('k', { n: 2 }), true)
    assert.deepEqual(await value(db), { n: 1 })
    await db.put('other', { n: 1 })
    assert.deepEqual(await value(db, 'other'), { n: 1 })
    assert.equal(errors.length, 1)
    const [error] = errors
    assert.deepEqual([error.code, error.key, error.diff.list], ['ERR_MERGE', 'k', { add: { n: 2 } }])
    assert.ok(error.message.includes('"k"') && error.message.includes(error.diff._timestamp), error.message)
    assert.match(error.message, message)
    const diffs = await collect(db.createUnionStream('k'))
    assert.deepEqual(
      diffs.map((entry) => entry.value.list.add.n),
      [1, 2]
    )
    // It is tried again on update(), and by a handle that opens it with a fixed one.
    await db.update()
    assert.equal(errors.length, 2)
    broken = false
    if (what === 'throws') {
      await db.update()
    } else {
      await db.close()
      const fixed = await open(t, folder, {}, counter())
      await fixed.update()
      assert.deepEqual(await value(fixed), { n: 3 })
      return
    }
    assert.deepEqual(await value(db), { n: 3 })
  })
}

test('without a listener the failure is in status and a warning', async (t) => {
  const warnings = []
  const listen = (warning) => warnings.push(warning.code)
  process.on('warning', listen)
  t.after(() => process.off('warning', listen))
  const db = await open(t, ':memory:', {}, { merge: () => undefined })
  await db.put('k', { n: 1 })
  await db.put('l', { n: 1 })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(db.status().error.code, 'ERR_MERGE')
  assert.deepEqual(warnings, ['ERR_MERGE'])
})

test('a delete needs no handler, and what had not seen it goes on from what was there', async (t) => {
  const [a, b] = await pair(t, () => ({ mergeHandler: counter() }))
  await a.put('k', { n: 5 })
  await meet(a, b)
  await a.del('k')
  assert.equal(await a.get('k'), null)
  const { value: read } = await b.get('k')
  read.n += 2
  await b.put('k', read)
  await meet(a, b)
  assert.deepEqual([await value(a), await value(b)], [{ n: 7 }, { n: 7 }])
  await a.del('k')
  await a.put('k', { n: 1 })
  assert.deepEqual(await value(a), { n: 1 })
})

test('the handle that was opened first merges; others write, and the next takes over', async (t) => {
  const store = new MultiHyperbee.Store(':memory:')
  t.after(() => store.close())
  const by = (name) => ({ merge: (diff, { current }) => ({ ...current, ...diff.list.add, by: name }) })
  const first = await open(t, store, {}, by('first'))
  const second = await open(t, store, {}, by('second'))
  const third = await open(t, store)
  await second.put('k', { a: 1 })
  assert.deepEqual(await value(second), { a: 1, by: 'first' })
  await third.put('k', { a: 2 })
  assert.deepEqual(await value(third), { a: 2, by: 'first' })
  await first.close()
  await third.put('k', { a: 3 })
  assert.deepEqual(await value(third), { a: 3, by: 'second' })
  await second.close()
  // Nobody merges: it is on disk, and waits.
  assert.equal(await third.put('k', { a: 4 }), true)
  assert.deepEqual(await value(third), { a: 3, by: 'second' })
  const again = await open(t, store, {}, by('again'))
  await again.update()
  assert.deepEqual(await value(third), { a: 4, by: 'again' })
})

test('what waits survives the end of the process at any moment', async (t) => {
  const folder = directory(t)
  const run = promisify(execFile)
  const source = `const MultiHyperbee = require(${JSON.stringify(path.join(__dirname, '..'))})
    const merge = (diff) => process.exit(7)
    new MultiHyperbee(${JSON.stringify(folder)}, {}, { merge }).put('k', { n: 1 })`
  await assert.rejects(run(process.execPath, ['-e', source]), { code: 7 })
  const plainHandle = await open(t, folder)
  assert.equal(await plainHandle.get('k'), null)
  assert.equal((await collect(plainHandle.createUnionStream('k'))).length, 1)
  await plainHandle.close()
  const db = await open(t, folder, {}, counter())
  await db.update()
  assert.deepEqual(await value(db), { n: 1 })
})

test('a process stays up until an awaited put is merged, though another handle merges', async () => {
  const run = promisify(execFile)
  const source = `const MultiHyperbee = require(${JSON.stringify(path.join(__dirname, '..'))})
    const store = new MultiHyperbee.Store(':memory:')
    const merge = async (diff) => (await new Promise((resolve) => setTimeout(resolve, 50)), { n: diff.list.add.n + 1 })
    const first = new MultiHyperbee(store, {}, { merge })
    const second = new MultiHyperbee(store)
    first.ready().then(() => second.put('k', { n: 1 })).then(() => second.get('k')).then(({ value }) => console.log(value.n))`
  const { stdout } = await run(process.execPath, ['-e', source], { timeout: 20_000 })
  assert.equal(stdout.trim(), '2')
})

test('other functions, or none any more, work out everything anew', async (t) => {
  const folder = directory(t)
  const first = await open(t, folder)
  await first.put('k', { n: 2 })
  await first.put('k', { n: 3 })
  await first.close()
  const second = await open(t, folder, {}, { merge: counter().merge })
  await second.update()
  assert.deepEqual(await value(second), { n: 5 })
  await second.close()
  const third = await open(t, folder, { mergeHandler: false })
  assert.deepEqual(await value(third), { n: 3 })
  await third.put('k', { n: 4 })
  assert.deepEqual(await value(third), { n: 4 })
})

test('history, checkout, watch and scans go on as ever', async (t) => {
  const db = await open(t, ':memory:', {}, counter())
  const watcher = db.watch()
  await watcher.ready()
  await db.put('k', { n: 1 })
  const { version } = db
  await db.put('k', { n: 3 })
  const {
    value: [now, before]
  } = await watcher.next()
  assert.ok(now.version > before.version)
  await watcher.close()
  assert.deepEqual(plain((await db.checkout(version).get('k')).value), { n: 1 })
  const history = await collect(db.createHistoryStream())
  assert.deepEqual(
    history.map((entry) => plain(entry.value)),
    [{ n: 1 }, { n: 3 }]
  )
  const scan = await collect(db.createReadStream())
  assert.deepEqual(
    scan.map((entry) => plain(entry.value)),
    [{ n: 3 }]
  )
})

test('a batch becomes visible at once on peers, though every key is merged by the handler', async (t) => {
  const slow = { merge: async (diff, context) => (await null, counter().merge(diff, context)) }
  const [a, b] = await pair(t, () => ({ mergeHandler: slow }))
  const seen = []
  b.on('update', () => seen.push(['x', 'y', 'z'].filter((key) => b.getSync(key) !== null).length))
  const streams = connect(a, b)
  const batch = a.batch()
  for (const key of ['x', 'y', 'z']) await batch.put(key, { n: 1 })
  await batch.flush()
  await converge(a, b)
  for (const stream of streams) stream.destroy()
  assert.equal((await b.get('x')) !== null, true)
  assert.ok(seen.length > 0 && seen.every((count) => count === 3), `${seen}`)
})

test(
  'flush and applied wait for the handler, and what it writes itself does not',
  { timeout: 20_000 },
  async (t) => {
    let release
    const gate = new Promise((resolve) => (release = resolve))
    const [a, b] = await pair(t, () => ({}))
    const c = await open(t, ':memory:', {
      key: a.key,
      mergeHandler: { merge: async (diff) => (await gate, diff.list.add) }
    })
    const streams = connect(a, c)
    const receipt = await a.put('k', { n: 1 }, { receipt: true })
    await b.close()
    await assert.rejects(c.applied(receipt, { timeout: 300 }), { code: 'ERR_TIMEOUT' })
    await assert.rejects(c.flush({ timeout: 300 }), { code: 'ERR_TIMEOUT' })
    release()
    await c.applied(receipt, { timeout: 5000 })
    await c.flush({ timeout: 5000 })
    assert.deepEqual(await value(c), { n: 1 })
    for (const stream of streams) stream.destroy()

    const db = await open(
      t,
      ':memory:',
      {},
      class {
        constructor(self) {
          this.db = self
        }
        async merge(diff, { key }) {
          if (key === 'k') await this.db.put('seen/k', { n: 1 })
          return diff.list.add
        }
      }
    )
    await db.put('k', { n: 2 })
    await db.update()
    assert.deepEqual([await value(db), await value(db, 'seen/k')], [{ n: 2 }, { n: 1 }])
  }
)

test(
  'a handler that never answers does not hold up close, and the put resolves',
  { timeout: 20_000 },
  async (t) => {
    const folder = directory(t)
    const db = await open(t, folder, {}, { merge: () => new Promise(() => {}) })
    const put = db.put('k', { n: 1 })
    await once(db.local, 'append')
    await db.close()
    assert.equal(await put, true)
  }
)

test('with other encodings merge takes and gives values of that encoding', async (t) => {
  const merge = (diff, { current }) => `${current ?? ''}${diff.value}`
  const [a, b] = await pair(t, () => ({ valueEncoding: 'utf-8', mergeHandler: { merge } }))
  await a.put('k', 'a')
  await b.put('k', 'b')
  await meet(a, b)
  assert.deepEqual([(await a.get('k')).value, (await b.get('k')).value], ['ab', 'ab'])
  const errors = []
  const numbers = await open(t, ':memory:', { valueEncoding: 'utf-8' }, { merge: () => 3 })
  numbers.on('error', (error) => errors.push(error.code))
  await numbers.put('k', 'x')
  assert.deepEqual([await numbers.get('k'), errors], [null, ['ERR_MERGE']])
})

/** Databases of texts whose resolver is `resolver`. */
const texts = (resolver) => () => ({ valueEncoding: 'utf-8', resolver })

test('resolver is asked about concurrent writes only, left to right in the shared order', async (t) => {
  const calls = []
  const resolver = async (a, b) => {
    calls.push([a, b])
    return a.value > b.value ? a : b
  }
  const [a, b] = await pair(t, texts(resolver))
  await a.put('k', 'm')
  await a.put('k', 'c')
  assert.deepEqual([(await a.get('k')).value, calls], ['c', []])
  await meet(a, b)
  await a.put('k', 'z')
  await b.put('k', 'd')
  assert.equal(calls.length, 0)
  await meet(a, b)
  assert.deepEqual([(await a.get('k')).value, (await b.get('k')).value], ['z', 'z'])
  assert.equal(calls.length >= 2, true)
  for (const [first, second] of calls) {
    assert.deepEqual([first.key, first.value, first.writer], ['k', 'z', a.local.key])
    assert.deepEqual([second.key, second.value, second.writer], ['k', 'd', b.local.key])
    assert.deepEqual([first.seq, second.seq], [a.local.length - 1, b.local.length - 1])
    assert.ok(first.timestamp < second.timestamp)
  }
  assert.deepEqual(await a.stateHash(), await b.stateHash())
  const asked = calls.length
  await a.put('k', 'a')
  assert.deepEqual([(await a.get('k')).value, calls.length], ['a', asked])
})

for (const [what, resolver] of [
  [
    'throws',
    () => {
      throw new Error('cannot')
    }
  ],
  ['returns something else', (a) => ({ ...a })],
  ['returns nothing', () => {}]
]) {
  test(`a resolver that ${what}: the later stands, error names the key`, async (t) => {
    const [a, b] = await pair(t, texts(resolver))
    const errors = []
    a.on('error', (error) => errors.push(error))
    b.on('error', () => {})
    await a.put('k', 'earlier')
    await b.put('k', 'later')
    await meet(a, b)
    assert.deepEqual([(await a.get('k')).value, (await b.get('k')).value], ['later', 'later'])
    assert.ok(errors.length > 0)
    for (const error of errors) {
      assert.deepEqual([error.code, error.key], ['ERR_MERGE', 'k'])
      assert.match(error.message, /"k"/)
    }
  })
}

test('with both, registers are the resolver’s and objects the handler’s', async (t) => {
  const merge = (diff) => ({ ...diff.list.add, merged: true })
  const resolver = (a) => a
  const [a, b] = await pair(t, () => ({ mergeHandler: { merge }, resolver }))
  await a.put('object', { n: 1 })
  await a.put('text', 'a', { valueEncoding: 'utf-8' })
  await b.put('text', 'b', { valueEncoding: 'utf-8' })
  await meet(a, b)
  for (const db of [a, b]) {
    assert.deepEqual(await value(db, 'object'), { n: 1, merged: true })
    assert.equal((await db.get('text', { valueEncoding: 'utf-8' })).value, 'a')
  }
})
