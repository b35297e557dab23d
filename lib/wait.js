'use strict'

const { MultiHyperbeeError } = require('./errors.js')

/**
 * Resolves once `predicate()` holds, looked at again whenever the session changed.
 *
 * @param {{ open: Set<object>, listen: (listener: () => void) => () => void }} session open
 * @param {() => boolean} predicate may throw
 * @param {{ timeout?: number, signal?: AbortSignal } | undefined} options
 * @param {string} what is waited for, for messages
 */
function waitUntil(session, predicate, options, what) {
  const { timeout, signal } = options ?? {}
  return new Promise((resolve, reject) => {
    let timer
    let unlisten = () => {}
    const entry = { end: (error) => finish(reject, error) }
    const onabort = () => finish(reject, aborted(signal, what))
    const finish = (settle, value) => {
      unlisten()
      session.open.delete(entry)
      clearTimeout(timer)
      signal?.removeEventListener('abort', onabort)
      settle(value)
    }
    const look = () => {
      try {
        if (predicate()) finish(resolve)
      } catch (error) {
        finish(reject, MultiHyperbeeError.from(error))
      }
    }
    if (signal?.aborted) {
      onabort()
      return
    }
    session.open.add(entry)
    unlisten = session.listen(look)
    signal?.addEventListener('abort', onabort)
    if (timeout > 0 && timeout !== Infinity) {
      timer = setTimeout(() => finish(reject, timedOut(timeout, what)), timeout)
    }
    look()
  })
}

function timedOut(timeout, what) {
  return new MultiHyperbeeError('ERR_TIMEOUT', `${what}: not within ${timeout} ms`)
}

function aborted(signal, what) {
  return new MultiHyperbeeError('ERR_ABORTED', `${what}: aborted`, { cause: signal.reason })
}

module.exports = { waitUntil, aborted, timedOut }
