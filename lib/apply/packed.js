'use strict'

// The other side of src/bindings/apply.rs, where the formats are written down: integers little-endian, `bytes` a length
// u32 and the bytes.

const { readU64 } = require('../packed.js')

const TWO_32 = 0x100000000
const INITIAL_BYTES = 4096

/** What a batch asked of who may write. */
const CONTROL = { grant: 0, grantIndexer: 1, revoke: 2, revokeLost: 3, acknowledged: 4 }
/** What became of a position of the order. */
const OUTCOME = { doesNotCount: 0, applied: 1, rejected: 2, needsNoApply: 3 }

/** A buffer that grows. */
class Packer {
  constructor() {
    this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
    this.end = 0
  }

  u8(value) {
    this._reserve(1)
    this.buffer[this.end++] = value
  }

  u32(value) {
    this._reserve(4)
    this.buffer.writeUInt32LE(value, this.end)
    this.end += 4
  }

  u64(value) {
    this.u32(value % TWO_32)
    this.u32(Math.floor(value / TWO_32))
  }

  raw(bytes) {
    this._reserve(bytes.length)
    this.buffer.set(bytes, this.end)
    this.end += bytes.length
  }

  bytes(bytes) {
    this.u32(bytes.length)
    this.raw(bytes)
  }

  /** Bytes that are kept as a latin1 text. */
  latin1(text) {
    this.u32(text.length)
    this._reserve(text.length)
    this.end += this.buffer.latin1Write(text, this.end)
  }

  take() {
    return this.buffer.subarray(0, this.end)
  }

  _reserve(bytes) {
    if (this.end + bytes <= this.buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.end + bytes))
    this.buffer.copy(larger, 0, 0, this.end)
    this.buffer = larger
  }
}

class Unpacker {
  constructor(buffer) {
    this.buffer = buffer
    this.at = 0
  }

  u8() {
    return this.buffer[this.at++]
  }

  u32() {
    const value = this.buffer.readUInt32LE(this.at)
    this.at += 4
    return value
  }

  u64() {
    const value = readU64(this.buffer, this.at)
    this.at += 8
    return value
  }

  raw(length) {
    this.at += length
    return this.buffer.subarray(this.at - length, this.at)
  }

  bytes() {
    return this.raw(this.u32())
  }

  many(read) {
    return Array.from({ length: this.u32() }, read)
  }
}

/** @param {{ values: Buffer[], optimistic: boolean }[]} appends */
function packAppends(appends) {
  const packer = new Packer()
  packer.u32(appends.length)
  for (const { values, optimistic } of appends) {
    packer.u8(optimistic ? 1 : 0)
    packer.u32(values.length)
    for (const value of values) packer.bytes(value)
  }
  return packer.take()
}

/** The results of the first batches of a piece, gathered as they come. */
class DonePacker {
  constructor(generation) {
    this.count = 0
    this._packer = new Packer()
    this._packer.u64(generation)
    this._packer.u32(0)
  }

  get byteLength() {
    return this._packer.end
  }

  /**
   * @param {boolean} applied else it was rejected, and did nothing
   * @param {{ tag: number, writer: Buffer }[]} controls
   * @param {Iterable<[string, Buffer | null]>} writes keys as latin1; null deletes
   * @param {number} writeCount
   */
  add(applied, controls, writes, writeCount) {
    const packer = this._packer
    this.count++
    packer.u8(applied ? 0 : 1)
    packer.u32(controls.length)
    for (const { tag, writer } of controls) {
      packer.u8(tag)
      packer.raw(writer)
    }
    packer.u32(writeCount)
    for (const [key, value] of writes) {
      packer.u8(value === null ? 2 : 1)
      packer.latin1(key)
      if (value !== null) packer.bytes(value)
    }
  }

  take() {
    this._packer.buffer.writeUInt32LE(this.count, 8)
    return this._packer.take()
  }
}

/**
 * What `applyStep` and `stage` answer.
 *
 * @param {Buffer} packed
 * @returns {{ committed: number, from: number, to: number, shared: number, appended: number[],
 *   wait: number | null, piece: object | null }} `wait`: milliseconds
 */
function unpackAnswer(packed) {
  const reader = new Unpacker(packed)
  const committed = reader.u8()
  const [from, to, shared] = [reader.u64(), reader.u64(), reader.u64()]
  const appended = reader.many(() => reader.u64())
  const tag = reader.u8()
  const wait = tag === 1 ? reader.u32() : null
  const piece = tag === 2 ? unpackPiece(reader) : null
  return { committed, from, to, shared, appended, wait, piece }
}

function unpackPiece(reader) {
  const [generation, version, clock, undone] = [reader.u64(), reader.u64(), reader.u64(), reader.u64()]
  const staged = reader.u8() === 1
  const batches = reader.many(() => unpackBatch(reader))
  return { generation, version, clock, undone, staged, batches }
}

function unpackBatch(reader) {
  // Copies: who keeps a key does not keep all that came with it.
  const writer = Buffer.from(reader.raw(32))
  const [seq, entries, timestamp, flags] = [reader.u64(), reader.u32(), reader.u64(), reader.u8()]
  const links = reader.many(() => ({ key: Buffer.from(reader.raw(32)), length: reader.u64() }))
  const values = reader.many(() => ({ offset: reader.u32(), bytes: reader.bytes() }))
  return { writer, seq, entries, timestamp, optimistic: (flags & 1) !== 0, links, values }
}

/** What `sequence` answers: positions of the order. */
function unpackSequence(packed) {
  const reader = new Unpacker(packed)
  return reader.many(() => {
    const [index, begin, end, outcome] = [reader.u64(), reader.u64(), reader.u64(), reader.u8()]
    const controls = reader.many(() => ({ tag: reader.u8(), writer: reader.raw(32) }))
    return { index, begin, end, outcome, controls, batch: unpackBatch(reader) }
  })
}

module.exports = {
  CONTROL,
  OUTCOME,
  Packer,
  DonePacker,
  packAppends,
  unpackAnswer,
  unpackSequence
}
