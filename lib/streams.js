'use strict'

const { Readable } = require('node:stream')
const { MultiHyperbeeError, translated } = require('./errors.js')
const { forEachEntry, FLAG_PUT, FLAG_VALUE } = require('./packed.js')
const { historyBounds } = require('./range.js')
const { aborted } = require('./wait.js')
const { iterate } = require('./iterate.js')
const { Pace, Slices } = require('./pace.js')

/** Entries over a native cursor, a packed chunk at a time. Destroying it early frees the cursor. */
class CursorStream extends Readable {
  /**
   * @param {import('./session.js').Session} session
   * @param {{ open: (native: object) => object, decode: (packed: Buffer) => object[], goesOn?: (version: number) => boolean, live?: boolean }} source
   *   `goesOn`: whether more may come after the end of a cursor that has read up to that version, so that it is opened
   *   again then; `live`: it may, so nothing it has not read yet may go
   * @param {{ signal?: AbortSignal }} [options]
   */
  constructor(session, source, options) {
    super({ objectMode: true })
    this._session = session
    this._source = source
    this._cursor = null
    this._openedAt = 0
    this._pin = null
    this._unlisten = () => {}
    this._pace = new Pace()
    this._slices = new Slices()
    this._signal = options?.signal
    this._onabort = () => this.destroy(aborted(this._signal, 'reading'))
    session.open.add(this)
    if (this._signal?.aborted) this._onabort()
    else this._signal?.addEventListener('abort', this._onabort)
    // The snapshot is of now, not of the first read.
    if (session.state === 'open' && !this.destroyed) this._tryOpen(session.native())
  }

  /** Called when the database closes. */
  end(error) {
    this.destroy(error)
  }

  _construct(callback) {
    if (this._cursor !== null || this.destroyed) callback()
    else {
      const opening = this._session.ready().then((native) => this._tryOpen(native))
      opening.then(() => callback(), callback)
    }
  }

  _tryOpen(native) {
    try {
      const pin = this._source.live ? translated(() => native.hold()) : null
      this._openedAt = pin?.version ?? native.version()
      this._cursor = translated(() => this._source.open(native))
      this._pin?.close()
      this._pin = pin
    } catch (error) {
      this.destroy(error)
    }
  }

  /** Over the chunks themselves, as long as nobody reads the stream in another way. */
  [Symbol.asyncIterator]() {
    if (
      this.destroyed ||
      this._source.goesOn !== undefined ||
      this.readableFlowing !== null ||
      this.readableDidRead
    ) {
      return super[Symbol.asyncIterator]()
    }
    return iterate(
      this,
      () => this._nextChunk(),
      () => this._opened()
    )
  }

  async _opened() {
    if (this._cursor === null && !this.destroyed) this._tryOpen(await this._session.ready())
  }

  _nextChunk() {
    const packed = translated(() => this._slices.read(this._cursor))
    return packed === null ? null : this._source.decode(packed)
  }

  /** Node reads on within the same turn of the event loop for as long as it is given something. */
  _read() {
    if (this._pace.due()) this._pace.turn(() => this._fill())
    else this._fill()
  }

  _fill() {
    try {
      while (!this.destroyed) {
        const chunk = this._nextChunk()
        const entries = chunk ?? []
        // An entry that is null ends the stream.
        for (const entry of entries) this.push(entry)
        if (entries.length > 0) return
        if (chunk === null && !this._goOn()) return
        if (this._pace.due()) return this._pace.turn(() => this._fill())
      }
    } catch (error) {
      this.destroy(error)
    }
  }

  /** At the end of the cursor: true if there is another to read on with now. */
  _goOn() {
    if (!this._source.goesOn?.(this._openedAt)) {
      this.push(null)
      return false
    }
    const native = this._session.native()
    if (native.version() !== this._openedAt) {
      this._tryOpen(native)
      return true
    }
    this._unlisten = this._session.listen(() => {
      if (this._session.state !== 'open' || native.version() === this._openedAt) return
      this._unlisten()
      this._tryOpen(native)
      this._read()
    })
    return false
  }

  _destroy(error, callback) {
    this._unlisten()
    this._session.open.delete(this)
    this._signal?.removeEventListener('abort', this._onabort)
    this._cursor?.close()
    this._pin?.close()
    callback(error)
  }
}

/** Live entries in key order, at one version. */
function createReadStream(session, codec, range, at, options) {
  const open = (native) => native.scan(range, codec.form, at)
  return new CursorStream(session, { open, decode: (packed) => decodeEntries(codec, packed) }, options)
}

function decodeEntries(codec, packed) {
  const entries = []
  forEachEntry(packed, (flags, seq, key, keyEnd, valueEnd) => {
    entries.push(entryAt(codec, packed, flags, seq, key, keyEnd, valueEnd))
  })
  return entries
}

/** The packed entry as a caller gets it; what is deleted has the value null. */
function entryAt(codec, packed, flags, seq, at, keyEnd, valueEnd) {
  const key = codec.decodeKey(packed, at, keyEnd)
  if ((flags & FLAG_VALUE) === 0) return { seq, key, value: null }
  const id = codec.idAt(key, packed, at, keyEnd)
  return { seq, key, value: codec.decodeValue(flags, packed, keyEnd, valueEnd, id) }
}

/** `{ left, right }` of every key of the range that differs between two versions; null: the newest. */
function createDiffStream(session, codec, range, [left, right], options) {
  const open = (native) => native.compare(left ?? undefined, right ?? undefined, range, codec.form)
  const decode = (packed) => {
    const pairs = []
    let before = null
    forEachEntry(packed, (flags, seq, key, keyEnd, valueEnd) => {
      const found = (flags & FLAG_VALUE) !== 0
      const entry = found ? entryAt(codec, packed, flags, seq, key, keyEnd, valueEnd) : null
      if (before === null) before = { left: entry }
      else {
        pairs.push({ left: before.left, right: entry })
        before = null
      }
    })
    return pairs
  }
  return new CursorStream(session, { open, decode }, options)
}

/** What happened, by seq: `{ type, seq, key, value }`. A live one goes on with what happens. */
function createHistoryStream(session, codec, at, options = {}) {
  const { live = false, reverse = false, limit = -1 } = options
  if (live && reverse)
    throw new MultiHyperbeeError('ERR_OPTIONS', 'Cannot have both live and reverse enabled')
  let left = limit < 0 ? Infinity : limit
  let next = null
  let to = null
  const open = (native) => {
    if (next === null) {
      const version = at ?? native.version()
      const bounds = historyBounds(options, version)
      next = bounds.from
      // Counted from the end there may be fewer; named, one that is gone is refused.
      if (options.gt < 0 || options.gte < 0) next = Math.max(next, native.oldestVersion())
      to = bounds.to ?? (live ? null : version)
      if (at !== null) to = Math.min(to, at)
    }
    return native.history(codec.prefix, next, to, reverse, codec.form)
  }
  const decode = (packed) => {
    const entries = []
    forEachEntry(packed, (flags, seq, key, keyEnd, valueEnd) => {
      if (!reverse) next = seq + 1
      if (left <= 0) return
      left--
      const type = (flags & FLAG_PUT) === 0 ? 'del' : 'put'
      entries.push({ type, ...entryAt(codec, packed, flags, seq, key, keyEnd, valueEnd) })
    })
    if (left <= 0) entries.push(null)
    return entries
  }
  const goesOn = (version) => {
    // Behind the last entry there may be others' keys, which need not be looked at again.
    if (!reverse) next = Math.max(next, version + 1)
    return live && left > 0 && (to === null || next <= to)
  }
  return new CursorStream(session, { open, decode, goesOn, live }, options)
}

module.exports = { CursorStream, createDiffStream, createReadStream, createHistoryStream }
