'use strict'

// The native side of apply mode, small and in memory, with every choice the real one makes left to the test: what a call
// answers is queued beforehand. For tests of the JavaScript side alone.

const { Packer } = require('../../lib/apply/packed.js')

/** A store of many versions: what `Overlay` reads. */
class FakeStore {
  constructor() {
    /** `[version, key, value | null]`, keys and values as latin1. */
    this.rows = []
    this.reads = 0
    this.failing = null
  }

  at(version) {
    const state = new Map()
    for (const [seq, key, value] of this.rows) if (seq <= version) state.set(key, { seq, value })
    for (const [key, { value }] of state) if (value === null) state.delete(key)
    return state
  }

  getInto(scratch, keyLength, _form, version) {
    this.reads++
    if (this.failing !== null) throw this.failing
    const found = this.at(version).get(scratch.latin1Slice(0, keyLength))
    if (found === undefined) return -1
    scratch.writeUInt32LE(found.seq, 0)
    scratch.writeUInt32LE(0, 4)
    scratch[8] = 5
    return 9 + scratch.latin1Write(found.value, 9)
  }

  scan({ gt, gte, lt, lte, reverse }, _form, version) {
    if (this.failing !== null) throw this.failing
    const text = (bytes) => bytes?.toString('latin1')
    const entries = [...this.at(version)].filter(([key]) => {
      return (
        !(gt && key <= text(gt)) &&
        !(gte && key < text(gte)) &&
        !(lt && key >= text(lt)) &&
        !(lte && key > text(lte))
      )
    })
    entries.sort(([a], [b]) => (a < b ? -1 : 1))
    if (reverse) entries.reverse()
    // Few at a time, so that chunks end in every place.
    return { next: () => (entries.length === 0 ? null : packEntries(entries.splice(0, 3))), close() {} }
  }
}

function packEntries(entries) {
  const packer = new Packer()
  packer.u32(entries.length)
  for (const [key, { seq, value }] of entries) {
    packer.u64(seq)
    packer.u8(5)
    packer.u32(key.length)
    packer.u32(value.length)
    packer.raw(Buffer.from(key, 'latin1'))
    packer.raw(Buffer.from(value, 'latin1'))
  }
  return packer.take()
}

/** Answers calls as it was told, and notes them. Two at once fail. */
class FakeCore extends FakeStore {
  constructor() {
    super()
    this.calls = []
    this.answers = []
    this.busy = false
    this.claims = true
    this.ackIsWanted = false
  }

  claimApply() {
    return this.claims
  }

  ackWanted() {
    return this.ackIsWanted
  }

  acknowledge() {
    return this._call('acknowledge', null)
  }

  applyStep(flags, done) {
    return this._call('step', { flags, done: done === null ? null : unpackDone(done) })
  }

  stage(packed) {
    return this._call('stage', unpackAppends(packed))
  }

  async _call(name, what) {
    if (this.busy) throw new Error('two calls at once')
    this.busy = true
    this.calls.push([name, what])
    await new Promise((resolve) => setImmediate(resolve))
    this.busy = false
    const next = this.answers.shift() ?? (() => packAnswer({}))
    const answer = typeof next === 'function' ? next(what, name) : next
    if (answer instanceof Error) throw answer
    return answer
  }
}

function packAnswer({
  committed = 0,
  from = 0,
  to = 0,
  shared = 0,
  appended = [],
  wait = null,
  piece = null
}) {
  const packer = new Packer()
  packer.u8(committed)
  for (const version of [from, to, shared]) packer.u64(version)
  packer.u32(appended.length)
  for (const length of appended) packer.u64(length)
  packer.u8(piece !== null ? 2 : wait !== null ? 1 : 0)
  if (piece !== null) packPiece(packer, piece)
  else if (wait !== null) packer.u32(wait)
  return packer.take()
}

function packPiece(packer, { generation = 1, version = 0, clock = 0, undone = 0, staged = false, batches }) {
  for (const number of [generation, version, clock, undone]) packer.u64(number)
  packer.u8(staged ? 1 : 0)
  packer.u32(batches.length)
  for (const batch of batches) packBatch(packer, batch)
}

function packBatch(packer, batch) {
  const { writer = Buffer.alloc(32, 1), seq = 0, timestamp = 0, optimistic = false, ...rest } = batch
  const { links = [], values = [], entries = values.length } = rest
  packer.raw(writer)
  packer.u64(seq)
  packer.u32(entries)
  packer.u64(timestamp)
  packer.u8(optimistic ? 1 : 0)
  packer.u32(links.length)
  for (const { key, length } of links) {
    packer.raw(key)
    packer.u64(length)
  }
  packer.u32(values.length)
  values.forEach((value, offset) => {
    packer.u32(offset)
    packer.bytes(Buffer.from(value))
  })
}

/** Reads what JavaScript packs, by the seam's own words. */
class Reader {
  constructor(packed) {
    this.packed = packed
    this.at = 0
  }

  u8() {
    return this.packed[this.at++]
  }

  u32() {
    this.at += 4
    return this.packed.readUInt32LE(this.at - 4)
  }

  text(encoding, length = this.u32()) {
    this.at += length
    return this.packed.toString(encoding, this.at - length, this.at)
  }

  many(read) {
    return Array.from({ length: this.u32() }, read)
  }
}

function unpackAppends(packed) {
  const reader = new Reader(packed)
  return reader.many(() => {
    const optimistic = reader.u8() === 1
    return { optimistic, values: reader.many(() => reader.text('latin1')) }
  })
}

function unpackDone(packed) {
  const reader = new Reader(packed)
  const generation = reader.u32() + reader.u32()
  const batches = reader.many(() => {
    const applied = reader.u8() === 0
    const controls = reader.many(() => [reader.u8(), reader.text('hex', 32)])
    const writes = reader.many(() =>
      reader.u8() === 1 ? [reader.text('latin1'), reader.text('latin1')] : [reader.text('latin1'), null]
    )
    return { applied, controls, writes: Object.fromEntries(writes) }
  })
  return { generation, batches }
}

module.exports = { FakeStore, FakeCore, packAnswer }
