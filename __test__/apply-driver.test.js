'use strict'

// The lane of apply mode against a core that answers as it is told: what it calls, in which order, and what it makes of
// answers that a real core gives only when the order changes at the wrong moment.

const test = require('node:test')
const assert = require('node:assert/strict')
const { setTimeout: sleep } = require('node:timers/promises')
const { AppendQueue } = require('../lib/apply/append-queue.js')
const { Driver } = require('../lib/apply/driver.js')
const { Runner } = require('../lib/apply/runner.js')
const { PlainCodec } = require('../lib/codec.js')
const { resolveEncoding } = require('../lib/encodings.js')
const { FakeCore, packAnswer } = require('./support/fake-core.js')

const utf8 = resolveEncoding('utf-8')
const info = { key: Buffer.alloc(32, 1), discoveryKey: Buffer.alloc(32, 2) }

/** Puts every value under itself. */
const putAll = (nodes, view) => {
  const writes = view.write()
  for (const { value } of nodes) writes.tryPut(value, value)
}

/** A lane over a core that answers so. */
function lane(t, answers, { apply = putAll, open = null } = {}) {
  const core = new FakeCore()
  core.answers.push(...answers)
  const told = { visible: [], stops: [], failures: [] }
  const appends = new AppendQueue(utf8)
  const runner = new Runner(null, new PlainCodec(utf8, utf8), { apply, open, close: null })
  const driver = new Driver(appends, runner, {
    visible: (answer) => told.visible.push([answer.from, answer.to, answer.shared]),
    paused: (stop) => {
      told.stops.push(stop)
      return { kind: stop.kind, error: stop.error ?? null }
    },
    failed: (error) => told.failures.push(error),
    idle: () => {}
  })
  const append = (value, optimistic = false) => {
    const appended = appends.add([value], optimistic)
    queueMicrotask(() => driver.wake())
    return appended
  }
  const start = (isApplied = () => true) => {
    runner.start(core, info)
    driver.start(core, isApplied)
  }
  t.after(() => driver.close())
  return { core, driver, runner, append, told, start }
}

const batch = (...values) => ({ values })
const names = (core) => core.calls.map(([name]) => name)
/** Answers a call of `stage` with a piece of what is staged. */
const stagedPiece = (generation) => (appends) =>
  packAnswer({
    piece: { generation, staged: true, batches: appends.map(({ values }) => ({ entries: values.length })) }
  })
/** Answers a step with what it commits. */
const commits = (rest) => () => packAnswer({ committed: 2, from: 0, to: 1, ...rest })

test('appends of one tick are staged as one, applied, and on disk with what they made', async (t) => {
  const { core, append, start, told, driver } = lane(t, [stagedPiece(7), commits({ appended: [4, 5] })])
  const lengths = [append('a'), append('b', true)]
  start()
  assert.deepEqual(await Promise.all(lengths), [4, 5])
  assert.deepEqual(core.calls.slice(0, 2), [
    [
      'stage',
      [
        { optimistic: false, values: ['a'] },
        { optimistic: true, values: ['b'] }
      ]
    ],
    [
      'step',
      {
        flags: 0,
        done: {
          generation: 7,
          batches: [
            { applied: true, controls: [], writes: { a: 'a' } },
            { applied: true, controls: [], writes: { b: 'b' } }
          ]
        }
      }
    ]
  ])
  assert.deepEqual(told.visible, [[0, 1, 0]])
  assert.deepEqual(driver.stats, { undos: 0, appends: 2, waves: 0, flushes: 1 })
})

test('one append that is refused among others is refused alone', async (t) => {
  const refusal = new Error('ERR_NOT_WRITABLE: Not writable')
  const { append, start } = lane(t, [
    refusal,
    () => packAnswer({ appended: [1] }),
    refusal,
    () => packAnswer({ appended: [2] })
  ])
  const appended = ['a', 'b', 'c'].map((value) => append(value))
  start()
  const results = await Promise.allSettled(appended)
  assert.deepEqual(
    results.map(({ value, reason }) => value ?? reason.code),
    [1, 'ERR_NOT_WRITABLE', 2]
  )
})

test('pieces are applied until there are none; a wave in steps is visible once', async (t) => {
  const { core, driver, start, told } = lane(t, [
    packAnswer({ piece: { generation: 1, undone: 3, batches: [batch('a', 'b'), batch('c')] } }),
    packAnswer({ committed: 1, piece: { generation: 2, clock: 2, batches: [batch('d')] } }),
    commits({ shared: 9 })
  ])
  start()
  await driver.update()
  assert.deepEqual(names(core).slice(0, 3), ['step', 'step', 'step'])
  assert.deepEqual(
    core.calls[1][1].done.batches.map(({ writes }) => Object.keys(writes)),
    [['a', 'b'], ['c']]
  )
  assert.deepEqual(told.visible, [[0, 1, 9]])
  assert.deepEqual(driver.stats, { undos: 1, appends: 0, waves: 1, flushes: 2 })
})

test('a piece of an order that has changed is applied anew from what is then handed out', async (t) => {
  const { core, driver, start } = lane(t, [
    packAnswer({ piece: { generation: 1, batches: [batch('late'), batch('x')] } }),
    packAnswer({ committed: 3, piece: { generation: 2, batches: [batch('early')] } }),
    commits()
  ])
  start()
  await driver.update()
  assert.deepEqual(core.calls[2][1].done, {
    generation: 2,
    batches: [{ applied: true, controls: [], writes: { early: 'early' } }]
  })
  assert.equal(driver.stats.flushes, 1)
})

test('staged appends that are handed out again, or put on disk alone, resolve all the same', async (t) => {
  const { append, start } = lane(t, [
    stagedPiece(1),
    () =>
      packAnswer({
        committed: 3,
        piece: { generation: 2, staged: true, batches: [{ entries: 1 }, { entries: 1 }] }
      }),
    () => packAnswer({ committed: 2, appended: [1, 2] })
  ])
  const appended = [append('a'), append('b')]
  start()
  assert.deepEqual(await Promise.all(appended), [1, 2])
})

test('who is granted changes: the piece ends there, and what comes next is asked for', async (t) => {
  const other = Buffer.alloc(32, 9)
  const apply = (nodes, view, host) => {
    if (nodes[0].value === 'grant') host.addWriter(other)
    putAll(nodes, view)
  }
  const answers = [packAnswer({ piece: { batches: [batch('a'), batch('grant'), batch('c')] } }), commits()]
  const { core, driver, start } = lane(t, answers, { apply })
  start()
  await driver.update()
  const { batches } = core.calls[1][1].done
  assert.deepEqual(
    batches.map(({ controls }) => controls),
    [[], [[1, other.toString('hex')]]]
  )
})

test('clock, genesis, links and the places of the values, as apply gets them', async (t) => {
  const link = { key: Buffer.alloc(32, 5), length: 6 }
  const seen = []
  const apply = (nodes, _view, host) => {
    seen.push({ nodes, clock: host.clock, genesis: host.genesis, id: host.id, name: host.name })
  }
  const { driver, start } = lane(
    t,
    [
      packAnswer({
        piece: { batches: [{ seq: 8, timestamp: 99, links: [link], values: ['a', 'b'] }, batch('c')] }
      })
    ],
    { apply }
  )
  start()
  await driver.update()
  assert.deepEqual(
    seen.map(({ clock, genesis }) => [clock, genesis]),
    [
      [0, true],
      [1, false]
    ]
  )
  const [a, b] = seen[0].nodes
  assert.deepEqual(
    { ...a },
    {
      key: Buffer.alloc(32, 1),
      value: 'a',
      length: 9,
      timestamp: 99,
      links: [link],
      batch: { start: 0, end: 1 },
      optimistic: false
    }
  )
  assert.deepEqual([b.length, b.batch], [10, { start: 1, end: 0 }])
  assert.equal(seen[0].name, seen[0].id)
})

test('an optimistic batch counts if apply acknowledges its writer, and leaves nothing behind if not', async (t) => {
  const stranger = (value) => ({ ...batch(value), writer: Buffer.alloc(32, 7), optimistic: true })
  const apply = async (nodes, view, host) => {
    const [{ value, key }] = nodes
    await view.put(value, value)
    if (value === 'throws') throw new Error('no')
    if (value === 'acked') host.ackWriter(key)
    if (value === 'added') host.addWriter(key, { isIndexer: false })
    if (value === 'removed') host.removeWriter(key)
    if (value === 'last') assert.equal(await view.get('throws'), null)
  }
  const values = ['nothing', 'throws', 'removed', 'acked', 'last']
  const first = packAnswer({ piece: { batches: values.map(stranger) } })
  const { core, driver, start, told } = lane(
    t,
    [first, packAnswer({ piece: { batches: [stranger('added')] } })],
    { apply }
  )
  start()
  await driver.update()
  const done = core.calls.flatMap(([, what]) => what.done?.batches ?? [])
  assert.deepEqual(
    done.map(({ applied, writes }) => [applied, Object.keys(writes)]),
    [
      [false, []],
      [false, []],
      [false, []],
      [true, ['acked']],
      [false, []],
      [true, ['added']]
    ]
  )
  assert.deepEqual(told.stops, [])
})

test('a disk that fails under an optimistic batch is no reason to reject it', async (t) => {
  const apply = (nodes, view) => view.get('x').catch(() => {})
  const { core, driver, start, told } = lane(
    t,
    [packAnswer({ piece: { batches: [{ values: ['a'], optimistic: true }] } })],
    {
      apply
    }
  )
  core.failing = new Error('ERR_CORRUPT: gone')
  start()
  await assert.rejects(driver.update(), { code: 'ERR_CORRUPT' })
  assert.deepEqual(
    told.stops.map(({ kind }) => kind),
    ['failed']
  )
  assert.equal(core.calls.length, 1)
})

test('a throw pauses at its batch, what came before it stays, appends go on, and update tries again', async (t) => {
  let bad = true
  const apply = (nodes, view) => {
    if (nodes[0].value === 'bad' && bad) throw new Error('cannot')
    putAll(nodes, view)
  }
  const piece = { piece: { batches: [batch('good'), batch('bad'), batch('after')] } }
  const { core, driver, append, start, told } = lane(
    t,
    [
      packAnswer(piece),
      // Handed out again, and left alone: it is paused.
      commits({ piece: { batches: [batch('bad'), batch('after')] } }),
      // An append meanwhile.
      stagedPiece(5),
      () => packAnswer({ appended: [3] }),
      // Once more, mended.
      packAnswer({ piece: { generation: 6, batches: [batch('bad'), batch('after')] } }),
      commits()
    ],
    { apply }
  )
  const updating = driver.update()
  start()
  await assert.rejects(updating, /cannot/)
  assert.equal(core.calls[1][1].done.batches.length, 1)
  assert.equal(await append('mine'), 3)
  assert.deepEqual(core.calls[3][1].done, { generation: 5, batches: [] })
  bad = false
  await driver.update()
  assert.equal(core.calls[5][1].done.batches.length, 2)
  assert.equal(told.stops.length, 1)
})

test('an interruption pauses, even if apply catches it, and update goes on', async (t) => {
  let wait = true
  const apply = (nodes, view, host) => {
    try {
      if (wait) host.interrupt('later')
    } catch {
      // Caught, and interrupted nevertheless.
    }
    putAll(nodes, view)
  }
  const { core, driver, start, told } = lane(
    t,
    [
      packAnswer({ piece: { batches: [batch('a')] } }),
      packAnswer({ piece: { batches: [batch('a')] } }),
      commits()
    ],
    { apply }
  )
  start()
  await driver.update()
  assert.deepEqual(
    told.stops.map(({ kind, reason }) => [kind, reason]),
    [['interrupted', 'later']]
  )
  assert.deepEqual(names(core), ['step'])
  wait = false
  await driver.update()
  assert.deepEqual(Object.keys(core.calls[2][1].done.batches[0].writes), ['a'])
})

test('it waits as long as it is told, and not while somebody asks', async (t) => {
  const { core, driver, start } = lane(t, [
    packAnswer({ wait: 40 }),
    packAnswer({}),
    packAnswer({ wait: 30 }),
    packAnswer({})
  ])
  const began = performance.now()
  start()
  while (core.calls.length < 2) await sleep(1)
  assert.ok(performance.now() - began >= 35, 'it has waited')
  await driver.settled()
  const before = performance.now()
  await driver.update()
  assert.ok(performance.now() - before >= 25, 'a rest after a replay is waited out')
  assert.deepEqual(
    core.calls.slice(2).map(([, { flags }]) => flags),
    [1, 1]
  )
})

test('appends in a stream do not keep pieces from being applied', async (t) => {
  const { core, driver, append, start } = lane(t, [])
  let [length, pieces] = [0, 0]
  const piece = () => (pieces++ < 5 ? { generation: 1, batches: [batch('p')] } : null)
  const answer = (what, name) => {
    if (name === 'step') return packAnswer({ committed: what.done === null ? 0 : 2, piece: piece() })
    // There is always another append.
    if (length < 40) append('more').catch(() => {})
    return packAnswer({ appended: what.map(() => ++length), piece: piece() })
  }
  core.answers = { shift: () => answer, push() {} }
  start(() => false)
  append('first').catch(() => {})
  await driver.update()
  const applied = core.calls.findLastIndex(([, what]) => what.done != null)
  assert.ok(core.calls.slice(0, applied).filter(([name]) => name === 'stage').length < 20, names(core).join())
})

test('a core that refuses a step tells who waits, and stays usable', async (t) => {
  const { driver, append, start, told } = lane(t, [
    new Error('ERR_DISK_FULL: no room'),
    stagedPiece(1),
    new Error('ERR_DISK_FULL: no room'),
    stagedPiece(2),
    () => packAnswer({ committed: 2, appended: [1] })
  ])
  const updating = driver.update()
  start()
  await assert.rejects(updating, { code: 'ERR_DISK_FULL' })
  await assert.rejects(append('a'), { code: 'ERR_DISK_FULL' })
  assert.equal(await append('b'), 1)
  assert.equal(told.failures.length, 2)
})

test('a handle that does not apply appends, and takes over when it may', async (t) => {
  const { core, driver, append, start } = lane(t, [() => packAnswer({ appended: [1] })])
  core.claims = false
  start()
  assert.equal(await append('a'), 1)
  await driver.update()
  assert.deepEqual(names(core), ['stage'])
  core.claims = true
  core.answers.push(packAnswer({ piece: { batches: [batch('a')] } }), commits())
  await driver.update()
  assert.deepEqual(names(core), ['stage', 'step', 'step'])
})

test('close puts on disk what was appended, and gives up a call of apply that does not end', async (t) => {
  const { core, driver, append, start } = lane(
    t,
    [
      stagedPiece(3),
      () => packAnswer({ appended: [1] }),
      stagedPiece(4),
      () => packAnswer({ appended: [2] })
    ],
    { apply: () => new Promise(() => {}) }
  )
  start()
  const first = append('a')
  await sleep(10)
  const second = append('b')
  await driver.close()
  assert.deepEqual([await first, await second], [1, 2])
  assert.deepEqual(
    core.calls.filter(([name]) => name === 'step').map(([, { done }]) => done?.batches.length ?? null),
    [0, 0]
  )
})

test('apply that never waits leaves room for others', async (t) => {
  let [ticks, busy] = [0, true]
  const tick = () => {
    ticks++
    if (busy) setImmediate(tick)
  }
  const apply = () => {
    for (const until = performance.now() + 2; performance.now() < until;);
  }
  const { driver, start } = lane(
    t,
    [packAnswer({ piece: { batches: Array.from({ length: 100 }, () => batch('x')) } })],
    { apply }
  )
  start()
  setImmediate(tick)
  await driver.update()
  busy = false
  assert.ok(ticks > 5, `${ticks} turns of the event loop`)
})

test('work of others has the lane to itself', async (t) => {
  const { core, driver, start } = lane(t, [packAnswer({ piece: { batches: [batch('a')] } }), commits()])
  const calls = driver.exclusively(async () => {
    await sleep(5)
    return core.calls.length
  })
  start()
  assert.equal(await calls, 0)
  await assert.rejects(
    driver.exclusively(() => Promise.reject(new Error('mine'))),
    /mine/
  )
})
