'use strict'

// Apply mode as api.md has it, line by line, on the real core.

const test = require('node:test')
const assert = require('node:assert/strict')
const { once } = require('node:events')
const { setTimeout: sleep } = require('node:timers/promises')
const { MultiHyperbee, directory, open, connect, converge, collect } = require('./helpers.js')

const { Store } = MultiHyperbee
const WAIT = { timeout: 20_000 }

/** Operations as JSON; `put` writes, `grant` and `revoke` say who may write. */
async function apply(nodes, view, host) {
  for (const { value } of nodes) {
    const { put, grant, revoke, lost, isIndexer = true } = value
    if (grant) host.addWriter(grant, { isIndexer })
    if (revoke) host.removeWriter(revoke, { lost })
    if (put) await view.put(put[0], put[1])
  }
}

const JSON_VALUES = { keyEncoding: 'utf-8', valueEncoding: 'json', apply }

/** A replica of `db` that may write. */
async function openWriter(t, db, options, isIndexer = true) {
  const other = await open(t, ':memory:', db.key, { ...JSON_VALUES, ...options })
  await db.append({ grant: other.local.id, isIndexer })
  return other
}

async function connected(t, options) {
  const a = await open(t, ':memory:', { ...JSON_VALUES, ...options })
  const b = await openWriter(t, a, options)
  const streams = connect(a, b)
  await b.waitForWritable(WAIT)
  await converge(a, b)
  return [a, b, streams]
}

const values = async (view) =>
  Object.fromEntries((await collect(view.createReadStream())).map((e) => [e.key, e.value]))

test('append: a value, a text, bytes, and an array as one batch; what it returns names the entry', async (t) => {
  const calls = []
  const db = await open(t, ':memory:', {
    apply: (nodes) => void calls.push(nodes.map(({ value }) => String(value)))
  })
  const first = await db.append(Buffer.from('bytes'))
  assert.deepEqual(first, { key: db.local.key, length: first.length })
  const second = await db.append('text')
  const third = await db.append(['a', Buffer.from('b'), 'c'])
  assert.deepEqual([second.length, third.length], [first.length + 1, first.length + 4])
  assert.deepEqual(calls, [['bytes'], ['text'], ['a', 'b', 'c']])
  await db.applied(third)
  for (const [value, code] of [
    [3, 'ERR_INVALID_VALUE'],
    [null, 'ERR_INVALID_VALUE'],
    [[], 'ERR_OPTIONS'],
    [Buffer.alloc((16 << 20) + 1), 'ERR_VALUE_TOO_LARGE'],
    [new Array(65_537).fill('x'), 'ERR_BATCH_TOO_LARGE']
  ]) {
    await assert.rejects(db.append(value), { code })
  }
  assert.equal(db.local.length, third.length)
})

test('append encodes with valueEncoding; what apply gets is decoded with it', async (t) => {
  const db = await open(t, ':memory:', JSON_VALUES)
  await db.append([{ put: ['a', { deep: [1] }] }, { put: ['b', 2] }])
  assert.deepEqual(await values(db.view), { a: { deep: [1] }, b: 2 })
  assert.deepEqual(db.getSync('a').value, { deep: [1] })
  await assert.rejects(db.append({ big: 1n }), { code: 'ERR_INVALID_VALUE' })
})

test('what is for merge mode says what to use', async (t) => {
  const db = await open(t, ':memory:', JSON_VALUES)
  await assert.rejects(db.put('a', 1), { code: 'ERR_MODE', message: /append/ })
  await assert.rejects(db.view.del('a'), { code: 'ERR_MODE', message: /append/ })
  assert.throws(() => db.batch(), { code: 'ERR_MODE', message: /append/ })
  await assert.rejects(db.addWriter(db.key), { code: 'ERR_MODE', message: /host.addWriter/ })
  assert.throws(() => new MultiHyperbee(':memory:', { update() {} }), {
    code: 'ERR_OPTIONS',
    message: /pass apply/
  })
  assert.throws(() => new MultiHyperbee(':memory:', { apply: 3 }), { code: 'ERR_OPTIONS' })
  assert.throws(() => new MultiHyperbee(':memory:', { apply, ackInterval: -1 }), { code: 'ERR_OPTIONS' })
})

test('an append that is not awaited keeps the process up, and is there after close', async (t) => {
  const folder = directory(t)
  const db = new MultiHyperbee(folder, JSON_VALUES)
  const appended = [1, 2, 3].map((n) => db.append({ put: [`k${n}`, n] }))
  await db.close()
  assert.equal((await Promise.all(appended)).length, 3)
  const again = await open(t, folder, JSON_VALUES)
  await again.update()
  assert.deepEqual(await values(again.view), { k1: 1, k2: 2, k3: 3 })
})

test('two writers, offline and then connected, see the same', async (t) => {
  const [a, b, streams] = await connected(t)
  for (const stream of streams) stream.destroy()
  await sleep(10)
  await Promise.all(
    [a, b].map(async (db, n) => {
      for (let i = 0; i < 20; i++) await db.append({ put: [`k${i % 7}`, `${n}.${i}`] })
    })
  )
  connect(a, b)
  await converge(a, b)
  assert.deepEqual(await values(a.view), await values(b.view))
  assert.deepEqual(
    (await a.replay()).map(({ value }) => value),
    (await b.replay()).map(({ value }) => value)
  )
  assert.ok(a.stats.applies + b.stats.applies <= 2 * 42 + 40, JSON.stringify([a.stats, b.stats]))
})

test('who is not a writer is told, and nothing else happens', async (t) => {
  const a = await open(t, ':memory:', JSON_VALUES)
  const b = await open(t, ':memory:', a.key, JSON_VALUES)
  const { length } = b.local
  await assert.rejects(b.append({ put: ['a', 1] }), { code: 'ERR_NOT_WRITABLE', message: /Not writable/ })
  assert.deepEqual([b.local.length, b.closed], [length, false])
  await a.append({ put: ['a', 2] })
  connect(a, b)
  await converge(a, b)
  assert.deepEqual(await values(b.view), { a: 2 })
})

test('open makes the view, of the bee and of the one in apply; close is told of both', async (t) => {
  const closed = []
  class Named {
    constructor(bee) {
      this.bee = bee
    }

    set(name, value) {
      return this.bee.put(name, value)
    }

    async name(name) {
      return (await this.bee.get(name))?.value ?? null
    }
  }
  const db = await open(t, ':memory:', {
    ...JSON_VALUES,
    open: (bee) => new Named(bee),
    close: (view) => void closed.push(view),
    apply: async (nodes, view) => {
      for (const { value } of nodes) await view.set('last', [value, await view.name('last')])
    }
  })
  await db.append([1, 2])
  await db.append(3)
  assert.ok(db.view instanceof Named)
  assert.deepEqual(await db.view.name('last'), [3, [2, [1, null]]])
  assert.notEqual(db.bee, db.view)
  await db.close()
  assert.equal(closed.length, 2)
  assert.equal(closed[0], db.view)
  const fails = () =>
    new MultiHyperbee(':memory:', {
      apply,
      open: () => {
        throw new Error('mine')
      }
    })
  assert.throws(fails, /mine/)
})

test('update is told how the view moved, after the view has, and stops nothing by throwing', async (t) => {
  const changes = []
  const update = (view, map) => {
    changes.push(map.get('view'))
    assert.equal(view.version, map.get('view').to)
    if (changes.length === 2) throw new Error('mine')
  }
  const db = await open(t, ':memory:', { ...JSON_VALUES, update })
  const errors = []
  db.on('error', (error) => errors.push(error))
  const events = []
  db.on('update', (from, to) => events.push([from, to]))
  for (let n = 0; n < 3; n++) await db.append({ put: ['a', n] })
  assert.equal(changes.length, 3)
  for (const { from, to, shared } of changes) assert.ok(shared <= from && from < to)
  assert.equal(changes[1].from, changes[0].to)
  assert.deepEqual(
    errors.map(({ code, cause }) => [code, cause.message]),
    [['ERR_APPLY', 'mine']]
  )
  await sleep(5)
  assert.ok(events.length > 0)
})

test('host: who we are, where we stand, and what is no good afterwards', async (t) => {
  const seen = []
  const kept = []
  const db = await open(t, ':memory:', {
    apply: (nodes, view, host) => {
      const { key, id, discoveryKey, name, genesis, clock } = host
      seen.push({ key, id, discoveryKey, name, genesis, clock })
      kept.push([view, host])
    }
  })
  await db.append('a')
  await db.append(['b', 'c'])
  assert.deepEqual(
    seen.map(({ genesis, clock }) => [genesis, clock]),
    [
      [true, 0],
      [false, 1]
    ]
  )
  assert.deepEqual([seen[0].key, seen[0].id, seen[0].discoveryKey], [db.key, db.id, db.discoveryKey])
  assert.equal(seen[0].name, db.id)
  for (const [view, host] of kept) {
    assert.throws(() => host.addWriter(db.key), { code: 'ERR_CLOSED' })
    assert.throws(() => view.write(), { code: 'ERR_CLOSED' })
  }
})

test('anchors: a feed of one block, the same on every replica, that others can link', async (t) => {
  const anchors = []
  const anchoring = async (nodes, view, host) => {
    await apply(nodes, view, host)
    if (nodes[0].value.anchor) anchors.push(await host.createAnchor())
  }
  const [a, b] = await connected(t, { apply: anchoring })
  await a.append({ put: ['k', 1], anchor: true })
  await converge(a, b)
  assert.ok(anchors.length >= 2)
  for (const { key, length } of anchors) assert.deepEqual([key, length], [anchors[0].key, 1])
  for (const db of [a, b]) {
    const feed = db.store.get(anchors[0].key)
    await feed.ready()
    assert.deepEqual([feed.length, feed.writable], [1, false])
    await feed.close()
  }
  // Another batch has another anchor.
  await a.append({ put: ['k', 2], anchor: true })
  assert.notDeepEqual(anchors.at(-1).key, anchors[0].key)
  assert.deepEqual((await b.writers()).filter((writer) => writer.isIndexer).length, 2)
})

test('a node says what it is', async (t) => {
  const [a, b] = await connected(t)
  const { length } = await b.append([{ put: ['a', 1] }, { put: ['b', 2] }])
  await converge(a, b)
  const nodes = (await a.replay()).slice(-2)
  assert.deepEqual(
    nodes.map((node) => [node.length, node.batch]),
    [
      [length - 1, { start: 0, end: 1 }],
      [length, { start: 1, end: 0 }]
    ]
  )
  const [node] = nodes
  assert.deepEqual([node.key, node.optimistic], [b.local.key, false])
  assert.deepEqual(
    node.links.map(({ key }) => key),
    [a.local.key]
  )
  assert.ok(Math.abs(node.timestamp - Date.now()) < 60_000)
})

test('interrupt pauses, is told, and update goes on', async (t) => {
  let ready = false
  const db = await open(t, ':memory:', {
    ...JSON_VALUES,
    apply: async (nodes, view, host) => {
      if (!ready && nodes[0].value.put[1] === 'waits') host.interrupt('not yet')
      await apply(nodes, view, host)
    }
  })
  await db.append({ put: ['a', 1] })
  const interrupted = once(db, 'interrupt')
  const receipt = await db.append({ put: ['a', 'waits'] })
  assert.deepEqual(await interrupted, ['not yet'])
  assert.equal(db.interrupted, 'not yet')
  assert.equal((await db.view.get('a')).value, 1)
  await db.append({ put: ['b', 2] })
  assert.deepEqual(await values(db.view), { a: 1 })
  ready = true
  await db.update()
  assert.equal(db.interrupted, null)
  await db.applied(receipt, WAIT)
  assert.deepEqual(await values(db.view), { a: 'waits', b: 2 })
})

test('optimistic: off unless the creator allows it; on, it counts if apply acknowledges', async (t) => {
  const acks = async (nodes, view, host) => {
    const [{ key, value, optimistic }] = nodes
    if (optimistic && value.please) host.ackWriter(key)
    await apply(nodes, view, host)
  }
  for (const optimistic of [false, true]) {
    const a = await open(t, ':memory:', { ...JSON_VALUES, apply: acks, optimistic })
    const b = await open(t, ':memory:', a.key, { ...JSON_VALUES, apply: acks, optimistic })
    await a.append({ put: ['a', 0] })
    connect(a, b)
    await converge(a, b)
    if (!optimistic) {
      await assert.rejects(b.append({ put: ['x', 1] }, { optimistic: true }))
      continue
    }
    await b.append({ put: ['rejected', 1] }, { optimistic: true })
    await a.wakeup(await b.append({ please: true, put: ['accepted', 2] }, { optimistic: true }))
    for (let n = 0; n < 200 && (await a.view.get('accepted')) === null; n++) await sleep(20)
    await converge(a, b)
    assert.deepEqual(await values(a.view), { a: 0, accepted: 2 })
    assert.deepEqual(await values(b.view), { a: 0, accepted: 2 })
    assert.equal(b.writable, false)
    await assert.rejects(b.append({ put: ['y', 1] }), { code: 'ERR_NOT_WRITABLE' })
  }
})

test('a handle of the same database reads and appends, and takes over when the first closes', async (t) => {
  const store = new Store(':memory:')
  t.after(() => store.close())
  const [calls, others] = [[], []]
  const note = (into) => (nodes, view, host) => {
    into.push(nodes.length)
    return apply(nodes, view, host)
  }
  const first = await open(t, store, { ...JSON_VALUES, apply: note(calls) })
  const second = await open(t, store, { ...JSON_VALUES, apply: note(others) })
  await first.append({ put: ['a', 1] })
  const receipt = await second.append({ put: ['b', 2] })
  await second.applied(receipt, WAIT)
  assert.deepEqual(await values(second.view), { a: 1, b: 2 })
  assert.deepEqual([calls.length, others.length], [2, 0])
  await first.close()
  await second.append({ put: ['c', 3] })
  await second.update()
  assert.deepEqual(await values(second.view), { a: 1, b: 2, c: 3 })
  assert.equal(others.length, 1)
})

test('finality: alone everything is final; a silent indexer is named, and holds the view up in nothing', async (t) => {
  const a = await open(t, ':memory:', JSON_VALUES)
  await a.append({ put: ['a', 1] })
  const alone = a.finality()
  assert.ok(alone.length > 0 && alone.timestamp > 0)
  assert.deepEqual([alone.waitingFor, alone.reason], [[], null])
  const [system, view] = a.views()
  assert.equal(system.signedLength, alone.length)
  assert.deepEqual([view.length, view.signedLength], [a.version, a.version])
  const b = await open(t, ':memory:', a.key, JSON_VALUES)
  await a.append({ grant: b.local.id })
  await a.append({ put: ['a', 2] })
  assert.deepEqual(a.finality().waitingFor, [b.local.key])
  assert.equal((await a.view.get('a')).value, 2)
  const { length } = a.finality()
  await a.append({ revoke: b.local.id, lost: true })
  assert.ok(a.finality().length > length)
  assert.deepEqual(a.finality().waitingFor, [])
})

test('acknowledgements make everything final, and then all is quiet', async (t) => {
  const [a, b] = await connected(t, { ackInterval: 20 })
  const finalized = once(a, 'finalized')
  await b.append({ put: ['a', 1] })
  await a.append({ put: ['b', 2] })
  await finalized
  await converge(a, b)
  const allFinal = (db) => db.views()[1].signedLength === db.version
  for (let n = 0; n < 500 && ![a, b].every(allFinal); n++) await sleep(20)
  assert.deepEqual([a, b].map(allFinal), [true, true])
  await sleep(200)
  const lengths = [a.local.length, b.local.length]
  await sleep(300)
  assert.deepEqual([a.local.length, b.local.length], lengths)
})

test('setLocal: another feed, which has to be granted, also after a restart', async (t) => {
  const folder = directory(t)
  const db = await open(t, folder, JSON_VALUES)
  await db.append({ put: ['a', 1] })
  const before = db.local.key
  const keyPair = MultiHyperbee.deriveKeyPair(Buffer.alloc(32, 3), 'rotated')
  await assert.rejects(db.setLocal(keyPair.publicKey), { code: 'ERR_OPTIONS' })
  await assert.rejects(db.setLocal(Buffer.alloc(32, 9), { keyPair }), { code: 'ERR_OPTIONS' })
  await db.append({ grant: keyPair.publicKey.toString('hex') })
  await db.setLocal(keyPair.publicKey, { keyPair })
  assert.deepEqual([db.local.key, db.key], [keyPair.publicKey, before])
  const { key } = await db.append({ put: ['b', 2] })
  assert.deepEqual(key, keyPair.publicKey)
  await db.close()
  const again = await open(t, folder, JSON_VALUES)
  assert.deepEqual(again.local.key, keyPair.publicKey)
  await again.append({ put: ['c', 3] })
  assert.deepEqual(await values(again.view), { a: 1, b: 2, c: 3 })
})

test('a snapshot, a checkout and a diff of the view, outside apply', async (t) => {
  const db = await open(t, ':memory:', JSON_VALUES)
  await db.append({ put: ['a', 1] })
  const [snapshot, version] = [db.view.snapshot(), db.version]
  await db.append({ put: ['a', 2] })
  assert.equal((await snapshot.get('a')).value, 1)
  assert.equal((await db.view.checkout(version).get('a')).value, 1)
  const [{ left, right }] = await collect(db.view.createDiffStream(version))
  assert.deepEqual([left.value, right.value], [2, 1])
})

test('verify runs apply again, and names the first batch that comes out differently', async (t) => {
  let bent = false
  const db = await open(t, ':memory:', {
    ...JSON_VALUES,
    apply: async (nodes, view, host) => {
      await apply(nodes, view, host)
      if (bent && nodes[0].value.put[1] === 7_777) await view.put('extra', 1)
    }
  })
  const receipts = await Promise.all(
    Array.from({ length: 10_000 }, (_, n) => db.append({ put: [`k${n % 9}`, n] }))
  )
  const seen = []
  const fine = await db.verify({ replay: true, onprogress: ({ checked }) => seen.push(checked) })
  assert.deepEqual(fine, { checked: 10_000, skipped: 0, differs: null })
  assert.ok(seen.length > 1 && seen.at(-1) === 10_000)
  bent = true
  const { checked, differs } = await db.verify({ replay: true })
  assert.equal(checked, 7_778)
  assert.deepEqual(
    [differs.writer, differs.length, String(differs.key)],
    [db.local.key, receipts[7_777].length, 'extra']
  )
  await assert.rejects(db.verify({}), { code: 'ERR_OPTIONS' })
  await assert.rejects(db.verify({ replay: true, signal: AbortSignal.abort() }), { code: 'ERR_ABORTED' })
  assert.deepEqual(await db.view.get('extra'), null)
})
