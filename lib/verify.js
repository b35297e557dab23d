'use strict'

const { MultiHyperbeeError } = require('./errors.js')
const { translatedAsync } = require('./session.js')

/** Checks all that is stored; `onProgress` is called as often as this thread has time for it. */
async function verify(native, options) {
  const onProgress = options?.onProgress ?? null
  if (onProgress !== null && typeof onProgress !== 'function') {
    throw new MultiHyperbeeError('ERR_OPTIONS', 'onProgress is a function of { stage, done, total }')
  }
  if (options?.repair) {
    throw new MultiHyperbeeError('ERR_OPTIONS', 'repair is not there yet: leave it out')
  }
  let ended = false
  const tell = () => {
    const progress = ended ? null : (verification.progress() ?? null)
    if (progress !== null && onProgress !== null) onProgress(progress)
  }
  const verification = native.verify(tell)
  try {
    const { damages, ...counts } = await translatedAsync(verification.report())
    tell()
    return { ok: damages.length === 0, ...counts, damages }
  } finally {
    ended = true
  }
}

module.exports = { verify }
