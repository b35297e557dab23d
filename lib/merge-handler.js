'use strict'

// A merge of the user's own: `mergeHandler` and `resolver`. The core asks nothing of JavaScript; we ask it for what is to
// be merged, a round at a time, and give the results back. docs/design/handlers.md says what it promises.

const { AsyncLocalStorage } = require('node:async_hooks')
const { MultiHyperbeeError } = require('./errors.js')
const { diffEntry } = require('./diffs.js')
const { stripped } = require('./codec.js')
const { encodeObject, isPlainObject } = require('./encodings.js')
const { readU64 } = require('./packed.js')
const { waitUntil } = require('./wait.js')
const { translatedAsync } = require('./session.js')

/** Set while a function of the user's runs: what it writes itself cannot wait for it to be done. */
const inside = new AsyncLocalStorage()

/** The functions of one handle, and the rounds in which they are asked. */
class Merger {
  /** @param {{ merge?: Function, genDiff?: Function } | null} handler @param {Function | null} resolver */
  constructor(session, codec, { handler, resolver }, report) {
    this._session = session
    this._codec = codec
    this._handler = handler
    this._resolver = resolver
    this._report = report
    this._runner = null
    this._running = null
    this._again = false
    this._retry = false
  }

  get genDiff() {
    return typeof this._handler?.genDiff === 'function'
  }

  /** Takes a place in line, and sees to it that the core knows who merges. What waits is merged behind that. */
  async attach(native) {
    const merge = typeof this._handler?.merge === 'function'
    this._runner = native.attach(merge, this._resolver !== null)
    const round = await this._runner.round(true)
    if (!merge && this._resolver === null) return this.close()
    this._session.listen(() => this._look())
    this._running = this._run(round)
  }

  close() {
    this._runner?.close()
    this._runner = null
  }

  /** Tries again what has failed, and ends when nothing waits. */
  async update() {
    this._retry = true
    this._look()
    while (this._running !== null) await this._running
  }

  _look() {
    if (this._running !== null) {
      this._again = true
      return
    }
    try {
      if (this._runner !== null && (this._retry || this._runner.due())) this._running = this._run(null)
    } catch {
      // The database is closing.
    }
  }

  async _run(round) {
    try {
      for (;;) {
        if (round !== null) await this._work(round)
        if (this._runner === null) break
        const retry = this._retry
        this._retry = this._again = false
        round = await this._runner.round(retry)
        if (round === null && !this._again) break
      }
    } catch (error) {
      const translated = MultiHyperbeeError.from(error)
      if (translated.code !== 'ERR_CLOSED') this._report(translated)
    } finally {
      this._running = null
      this._session.changed()
    }
  }

  async _work(round) {
    do {
      for (;;) {
        const question = round.next(this._codec.form)
        if (question === null) break
        if (question.diff == null) await this._resolve(round, question)
        else await this._merge(round, question)
      }
    } while (this._runner !== null && round.again(await round.commit()))
  }

  async _merge(round, question) {
    const key = this._codec.decodeKey(question.key, 0, question.key.length)
    const diff = diffEntry(this._codec, question.diff).value
    const context = new Context(this, round, key, question)
    try {
      const value = await inside.run(true, () => this._handler.merge(diff, context))
      if (this._codec.objects)
        round.answerObject(encodeObject(isPlainObject(value) ? stripped(value) : value))
      else round.answerRegister(this._codec.valueEncoding.encode(value))
    } catch (cause) {
      round.fail()
      const what =
        'it keeps the value it had, and is tried again when it changes, on update() and when reopened'
      this._report(
        failure(`mergeHandler failed at the key ${JSON.stringify(key)}, diff ${diff._timestamp}`, what, {
          key,
          diff,
          cause
        })
      )
    } finally {
      context.end()
    }
  }

  async _resolve(round, question) {
    const key = this._codec.decodeKey(question.key, 0, question.key.length)
    try {
      const [a, b] = [question.a, question.b].map(({ value, timestamp, writer, seq }) => {
        return { key, value: this._value(value), timestamp, writer, seq }
      })
      const stands = await inside.run(true, () => this._resolver(a, b))
      if (stands !== a && stands !== b) throw new TypeError('it returned neither of its arguments')
      round.choose(stands === b)
    } catch (cause) {
      round.choose(true)
      this._report(
        failure(`resolver failed at the key ${JSON.stringify(key)}`, 'the later value stands', { key, cause })
      )
    }
  }

  _value(bytes) {
    return this._codec.objects ? bytes : this._codec.valueEncoding.decode(bytes)
  }

  /** An entry's value that the core has packed as `getInto` does. */
  entry(packed, key) {
    if (packed == null) return null
    const value = this._codec.decodeValue(packed[8], packed, 9, packed.length, this._codec.idOf(key))
    return { seq: readU64(packed, 0), key, value }
  }

  diff(native) {
    return diffEntry(this._codec, native).value
  }

  /** The `_diff` of a put that the user's `genDiff` makes, of the state that was read; undefined: nothing has changed. */
  async makeDiff(old, value) {
    const diff = await inside.run(true, () => this._handler.genDiff(old, value))
    return diff ?? undefined
  }
}

/** Gives an open database the functions of its handle. */
async function attach(native, session, codec, functions, reports) {
  session.merger = new Merger(session, codec, functions, (error) => reports.report(error))
  await translatedAsync(session.merger.attach(native))
}

/** What `merge` is given besides the diff. Its getters read what is being merged: they end with the call. */
class Context {
  #round
  #merger
  #diffs
  constructor(merger, round, key, question) {
    this.#merger = merger
    this.#round = round
    this.key = key
    this.current = merger.entry(question.current, key)?.value ?? null
  }

  /** What the built-in merge would make of the diff. */
  get merged() {
    return this.#merger.entry(this.#open().merged(this.#merger._codec.form), this.key).value
  }

  /** The key's diffs, in the shared order, the one that is merged being the last. */
  get diffs() {
    this.#diffs ??= this.#open()
      .diffs()
      .map((diff) => this.#merger.diff(diff))
    return this.#diffs
  }

  #open() {
    if (this.#round !== null) return this.#round
    throw new MultiHyperbeeError('ERR_MERGE', 'merged and diffs can be read only until merge has returned')
  }

  end() {
    this.#round = null
  }
}

/**
 * Waits until what was written of these keys is merged, if anybody is there to do it. What fails is not waited for.
 *
 * @param {Buffer[]} keys none: any key
 */
async function merged(session, keys) {
  if (inside.getStore()) return
  const native = session.state === 'open' ? session.native() : null
  if (!native?.isMerging(keys)) return
  // The function may be another handle's, whose wake-ups hold nobody up.
  const hold = setInterval(() => {}, 1 << 30)
  try {
    session.merger?._look()
    await waitUntil(session, () => !native.isMerging(keys), undefined, 'the merge')
  } catch (error) {
    // It is on disk, and is merged when the database is opened again.
    if (error.code !== 'ERR_CLOSED') throw error
  } finally {
    clearInterval(hold)
  }
}

function failure(what, then, { key, diff, cause }) {
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
  const error = new MultiHyperbeeError('ERR_MERGE', `${what}: ${reason}; ${then}`, { cause })
  return Object.assign(error, diff === undefined ? { key } : { key, diff })
}

module.exports = { attach, merged }
