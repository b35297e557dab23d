'use strict'

const { EventEmitter } = require('node:events')
const { Readable } = require('node:stream')
const { MultiHyperbeeError, translated } = require('./errors.js')
const { resolveEncoding } = require('./encodings.js')
const { translatedAsync } = require('./session.js')
const { waitUntil } = require('./wait.js')

/** Blocks that a stream has asked for at least, beyond the one it is at. */
const AHEAD = 64
const BINARY = resolveEncoding('binary', 'valueEncoding')

/** One writer's signed, append-only log. Events: `append` when it grew, `close`. */
class Feed extends EventEmitter {
  /**
   * @param {() => Promise<object>} open resolves to the native feed
   * @param {Buffer | null} key if it is known before it is open
   * @param {Set<object>} siblings what the store closes
   */
  constructor(open, key, siblings) {
    super()
    this.key = key
    this.discoveryKey = null
    this.state = 'opening'
    /** What `close` ends: streams and waits. */
    this.open = new Set()
    this._native = null
    this._listeners = new Set()
    this._siblings = siblings
    this._closing = null
    this._length = 0
    siblings.add(this)
    this._opening = this._open(open)
    this._opening.catch(() => {})
  }

  async _open(open) {
    const native = await open()
    const info = native.info()
    this.key = info.key
    this.discoveryKey = info.discoveryKey
    this._length = info.length
    native.subscribe(() => this._woken())
    this._native = native
    if (this.state === 'opening') this.state = 'open'
  }

  get id() {
    return this.key === null ? null : this.key.toString('hex')
  }

  get length() {
    return this._info()?.length ?? 0
  }

  get byteLength() {
    return this._info()?.byteLength ?? 0
  }

  /** Blocks here from the first on; others may be here by themselves. */
  get contiguousLength() {
    return this._info()?.contiguous ?? 0
  }

  get writable() {
    return this._info()?.writable ?? false
  }

  get readable() {
    return this.state === 'open'
  }

  async ready() {
    this._accept()
    await this._opening
    this._accept()
  }

  /** @returns {Promise<{ length: number, byteLength: number }>} after the append, which is on disk */
  async append(blocks, options) {
    this._accept()
    const encoding = resolveEncoding(options?.valueEncoding ?? BINARY, 'valueEncoding')
    const encoded = (Array.isArray(blocks) ? blocks : [blocks]).map((block) => encoding.encode(block))
    if (this.state === 'opening') await this.ready()
    const [length, byteLength] = await translatedAsync(translated(() => this._native.append(encoded)))
    return { length, byteLength }
  }

  /** The block; fetched from who announces it, and waited for. With `wait: false`, null if it is not here. */
  async get(seq, options) {
    await this.ready()
    if (!Number.isSafeInteger(seq) || seq < 0) throw wrong('a block is named by a whole number, 0 or more')
    const { wait = true, timeout, signal, valueEncoding } = options ?? {}
    const find = () => translated(() => this._native.get(seq))
    let block = find()
    if (block === null && wait) {
      const arrived = () => (block = find()) !== null
      await this._wanting(seq, seq + 1, arrived, { timeout, signal }, `block ${seq}`)
    }
    if (block === null || valueEncoding == null) return block
    return resolveEncoding(valueEncoding, 'valueEncoding').decode(block)
  }

  async has(seq) {
    return (await this.get(seq, { wait: false })) !== null
  }

  /** Fetches the blocks of a range and waits until they are here. Databases fetch the feeds they need by themselves. */
  async download(range) {
    await this.ready()
    const { start = 0, end = this.length, timeout, signal } = range ?? {}
    for (const at of [start, end])
      if (!Number.isSafeInteger(at) || at < 0) throw wrong('a range is { start, end }')
    const arrived = () => translated(() => this._native.hasAll(start, end))
    if (end > start)
      await this._wanting(start, end, arrived, { timeout, signal }, `blocks ${start} to ${end}`)
  }

  /** Wants blocks as long as it waits for them. */
  async _wanting(start, end, arrived, options, what) {
    translated(() => this._native.want(start, end))
    try {
      const growth = { open: this.open, listen: (listener) => this._listen(listener) }
      await waitUntil(growth, arrived, options, what)
    } finally {
      if (this.state === 'open') this._native.unwant(start, end)
    }
  }

  /** Blocks from `start` to before `end`; `live` goes on with what is appended. */
  createReadStream(options) {
    this._accept()
    const { signal } = options ?? {}
    const stream = Readable.from(this._blocks(options ?? {}), { signal })
    const entry = { end: (error) => stream.destroy(error) }
    this.open.add(entry)
    stream.on('close', () => this.open.delete(entry))
    return stream
  }

  async *_blocks({ start = 0, end, live = false, reverse = false, valueEncoding }) {
    await this.ready()
    if (live && reverse) throw wrong('a stream is live or reverse, not both')
    const last = end ?? (live ? Infinity : this.length)
    const ahead = new ReadAhead(this._native, start, last, reverse)
    try {
      for (let n = 0; n < last - start; n++) {
        const seq = reverse ? last - 1 - n : start + n
        ahead.move(seq)
        yield await this.get(seq, { valueEncoding })
      }
    } finally {
      if (this.state === 'open') ahead.end()
    }
  }

  /** The root hash of the first `length` blocks; of all, without it. */
  async treeHash(length) {
    await this.ready()
    return translated(() => this._native.treeHash(length))
  }

  close() {
    if (this._closing === null) this._closing = this._close()
    return this._closing
  }

  async _close() {
    this.state = 'closing'
    const opened = await this._opening.then(
      () => true,
      () => false
    )
    for (const one of [...this.open]) one.end(feedClosed())
    this.state = 'closed'
    this._siblings.delete(this)
    if (opened) this._native.close()
    this.emit('close')
  }

  /** For `waitUntil`. */
  _listen(listener) {
    this._listeners.add(listener)
    return () => this._listeners.delete(listener)
  }

  _woken() {
    if (this.state !== 'open') return
    this._native.rearm()
    const length = this.length
    const grown = length > this._length
    this._length = length
    for (const listener of [...this._listeners]) listener()
    if (grown) this.emit('append')
  }

  _info() {
    return this.state === 'open' ? translated(() => this._native.info()) : null
  }

  _accept() {
    if (this.state === 'closing' || this.state === 'closed') throw feedClosed()
  }
}

/** What a stream wants beyond the block it is at: a window that moves in steps, so that few ranges are asked for. */
class ReadAhead {
  constructor(native, start, last, reverse) {
    Object.assign(this, { native, start, last, reverse, range: null })
  }

  move(seq) {
    const { native, start, last, reverse, range } = this
    if (range !== null && seq >= range[0] + (reverse ? AHEAD : 0) && seq < range[1] - (reverse ? 0 : AHEAD))
      return
    const next = reverse
      ? [Math.max(start, seq + 1 - 2 * AHEAD), seq + 1]
      : [seq, Math.min(last, seq + 2 * AHEAD)]
    if (range !== null && range[0] <= next[0] && range[1] >= next[1]) return
    this.range = next
    translated(() => native.want(...next))
    if (range !== null) native.unwant(...range)
  }

  end() {
    if (this.range !== null) this.native.unwant(...this.range)
    this.range = null
  }
}

function wrong(message) {
  return new MultiHyperbeeError('ERR_OPTIONS', message)
}

function feedClosed() {
  return new MultiHyperbeeError('ERR_CLOSED', 'the feed is closed: get it again from its store')
}

module.exports = { Feed }
