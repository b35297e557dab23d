'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { keptVersions } = require('./options.js')
const { translatedAsync } = require('./session.js')
const { aborted } = require('./wait.js')

/** Drops what a database no longer keeps of its past. */
class Compactor {
  /** @param {import('./session.js').Session} session */
  constructor(session) {
    this._session = session
  }

  async compact(options) {
    const native = await this._session.ready()
    const versions = keptVersions(options?.history)
    return run((wake) => native.compact(versions, wake), options)
  }
}

/** All that is open in a store, then its file. */
function compactStore(native, options) {
  return run((wake) => native.compact(wake), options)
}

/** `onProgress` is called as often as this thread has time for it; a signal ends it, and what was done stays done. */
async function run(start, options) {
  const { onProgress = null, signal } = options ?? {}
  if (onProgress !== null && typeof onProgress !== 'function') {
    throw new MultiHyperbeeError('ERR_OPTIONS', 'onProgress is a function of { stage, done, total }')
  }
  if (signal?.aborted) throw aborted(signal, 'compact')
  let ended = false
  const tell = () => {
    const progress = ended ? null : (compaction.progress() ?? null)
    if (progress !== null && onProgress !== null) onProgress(progress)
  }
  const compaction = translated(() => start(tell))
  const stop = () => compaction.stop()
  signal?.addEventListener('abort', stop)
  try {
    const done = await translatedAsync(compaction.report())
    tell()
    return done
  } catch (error) {
    throw error.code === 'ERR_ABORTED' && signal?.aborted ? aborted(signal, 'compact') : error
  } finally {
    ended = true
    signal?.removeEventListener('abort', stop)
  }
}

module.exports = { Compactor, compactStore }
