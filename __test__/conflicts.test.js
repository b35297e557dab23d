'use strict'

const test = require('node:test')
const assert = require('node:assert/strict')
const { open, openWriter, connect, converge, plain } = require('./helpers.js')

/** Two replicas that hold `value` under `k`, and are apart; `meet` connects them until they agree. */
async function apart(t, value, options) {
  const a = await open(t, ':memory:', { ...options })
  const b = await openWriter(t, a, options)
  const meet = async () => {
    const streams = connect(a, b)
    await converge(a, b)
    await b.waitForWritable({ timeout: 10_000 })
    for (const stream of streams) stream.destroy()
  }
  if (value !== undefined) await a.put('k', value)
  await meet()
  const edit = async (db, change) => {
    const { value: read } = await db.get('k')
    change(read)
    const { key, length } = await db.put('k', read, { receipt: true })
    return { writer: key, seq: length - 1 }
  }
  return { a, b, meet, edit }
}

/** What both say, which must be one. */
async function found({ a, b }) {
  const [ours, theirs] = [await a.conflicts('k'), await b.conflicts('k')]
  assert.deepEqual(ours, theirs)
  return ours
}

const short = (conflicts) => conflicts.map(({ path, values }) => ({ path, values }))

test('two edits of one field: the later wins, both are named', async (t) => {
  const two = await apart(t, { n: 1, m: 1 })
  const loser = await two.edit(two.a, (value) => (value.n = 2))
  const winner = await two.edit(two.b, (value) => (value.n = 3))
  await two.meet()
  assert.deepEqual(await found(two), [{ path: ['n'], winner, losers: [loser], values: [3, 2] }])
  assert.equal((await two.a.get('k')).value.n, 3)
})

test('edits of different fields, or to the same value, are no conflict', async (t) => {
  const two = await apart(t, { n: 1, m: 1, o: 1 })
  await two.edit(two.a, (value) => Object.assign(value, { n: 2, o: 5 }))
  await two.edit(two.b, (value) => Object.assign(value, { m: 2, o: 5 }))
  await two.meet()
  assert.deepEqual(await found(two), [])
  assert.deepEqual(await two.a.conflicts('no such key'), [])
})

test('nested fields; an object that was set against an edit inside it', async (t) => {
  const two = await apart(t, { deep: { er: { x: 1, y: 1 } }, gone: { x: 1 } })
  await two.edit(two.a, (value) => {
    value.deep.er.x = 2
    value.gone = 'text'
  })
  await two.edit(two.b, (value) => {
    value.deep.er.x = 3
    value.gone.x = 2
  })
  await two.meet()
  assert.deepEqual(short(await found(two)), [
    { path: ['deep', 'er', 'x'], values: [3, 2] },
    { path: ['gone', 'x'], values: [2, undefined] }
  ])
})

test('a field of an array element, by its index now; insertions are no conflict', async (t) => {
  const two = await apart(t, { list: [{ id: 1, n: 1, m: 0 }] })
  await two.edit(two.a, (value) => {
    value.list[0].n = 2
    value.list.unshift('first')
  })
  await two.edit(two.b, (value) => {
    value.list[0].n = 3
    value.list.push('last')
  })
  await two.meet()
  assert.deepEqual(short(await found(two)), [{ path: ['list', 1, 'n'], values: [3, 2] }])
})

test('an element removed against an edit of it stays removed, and is named by its id', async (t) => {
  const two = await apart(t, { list: ['a', { id: 1, n: 1, m: 0 }] })
  const winner = await two.edit(two.a, (value) => value.list.pop())
  const loser = await two.edit(two.b, (value) => (value.list[1].n = 2))
  await two.meet()
  const [conflict, ...rest] = await found(two)
  assert.deepEqual(rest, [])
  assert.match(conflict.path[1], /^[0-9a-f]{16}-[0-9a-f]+-[0-9a-f]+$/)
  assert.deepEqual([conflict.winner, conflict.losers, conflict.values], [winner, [loser], [undefined, 2]])
})

test('a delete against an edit, either being the later', async (t) => {
  const first = await apart(t, { n: 1 })
  await first.edit(first.a, (value) => (value.n = 2))
  await first.b.del('k')
  await first.meet()
  assert.equal(await first.a.get('k'), null)
  assert.deepEqual(short(await found(first)), [{ path: ['n'], values: [undefined, 2] }])

  const second = await apart(t, { n: 1 })
  await second.a.del('k')
  await second.edit(second.b, (value) => (value.n = 2))
  await second.meet()
  assert.deepEqual(short(await found(second)), [{ path: ['n'], values: [2, undefined] }])
})

test('created twice: the fields in which they differ', async (t) => {
  const two = await apart(t)
  await two.a.put('k', { same: 1, differs: 'a', ours: 1 })
  await two.b.put('k', { same: 1, differs: 'b', theirs: 1 })
  await two.meet()
  assert.deepEqual(short(await found(two)), [{ path: ['differs'], values: ['b', 'a'] }])
  const { value } = await two.a.get('k')
  assert.deepEqual(plain(value), { same: 1, differs: 'b', ours: 1, theirs: 1 })
})

test('a later write that had seen both settles the paths it touches, and no others', async (t) => {
  const two = await apart(t, { n: 1, m: 1 })
  await two.edit(two.a, (value) => Object.assign(value, { n: 2, m: 2 }))
  await two.edit(two.b, (value) => Object.assign(value, { n: 3, m: 3 }))
  await two.meet()
  assert.equal((await found(two)).length, 2)
  await two.edit(two.a, (value) => (value.n = 4))
  await two.meet()
  assert.deepEqual(short(await found(two)), [{ path: ['m'], values: [3, 2] }])
  await two.b.del('k')
  await two.meet()
  assert.deepEqual(await found(two), [])
})

test('registers conflict as a whole', async (t) => {
  const two = await apart(t, 'base', { valueEncoding: 'utf-8' })
  await two.a.put('k', 'ours')
  await two.b.put('k', 'theirs')
  await two.meet()
  assert.deepEqual(short(await found(two)), [{ path: [], values: ['theirs', 'ours'] }])
})
