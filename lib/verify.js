'use strict'

const { MultiHyperbeeError, translated } = require('./errors.js')
const { checkEncryptionKey, encryptionKeyOf } = require('./options.js')
const { translatedAsync } = require('./session.js')

/**
 * Checks all that is stored; `onProgress` is called as often as this thread has time for it. `repair` mends what it finds;
 * `ofStore` is the store's encryption key.
 */
async function verify(native, options, ofStore) {
  const onProgress = options?.onProgress ?? null
  if (onProgress !== null && typeof onProgress !== 'function') {
    throw new MultiHyperbeeError('ERR_OPTIONS', 'onProgress is a function of { stage, done, total }')
  }
  const repairs = options?.repair ?? false
  if (typeof repairs !== 'boolean') throw new MultiHyperbeeError('ERR_OPTIONS', 'repair is true or false')
  const encryptionKey = checkEncryptionKey(options?.encryptionKey ?? null)
  const key = await encryptionKeyOf({ encryptionKey, encrypted: null }, ofStore)
  let ended = false
  const tell = () => {
    const progress = ended ? null : (verification.progress() ?? null)
    if (progress !== null && onProgress !== null) onProgress(progress)
  }
  const verification = translated(() => native.verify(repairs, key, tell))
  try {
    const { damages, repair, ...counts } = await translatedAsync(verification.report())
    tell()
    if (repair == null) return { ok: damages.length === 0, ...counts, damages }
    const { done, waiting, remaining } = repair
    return {
      ok: waiting.length === 0 && remaining.length === 0,
      ...counts,
      damages,
      repaired: done,
      waiting,
      remaining
    }
  } finally {
    ended = true
  }
}

module.exports = { verify }
