'use strict'

// Loaded before a test with `node --require`: every database that does not say otherwise is encrypted. So the suites
// run a second time (`npm run test:encrypted`), in the processes that tests start too.
const options = require('../lib/options.js')

const ENCRYPTION_KEY = Buffer.alloc(32, 0xe5)

if (process.env.MULTI_HYPERBEE_TEST_ENCRYPTED) {
  const { parseArguments } = options
  options.parseArguments = (...args) => {
    const parsed = parseArguments(...args)
    const { encryptionKey, encrypted } = parsed.sealing
    const isSaid = encryptionKey !== null || encrypted !== null || parsed.storage._shared?.encryptionKey
    return isSaid ? parsed : { ...parsed, sealing: { encryptionKey: ENCRYPTION_KEY, encrypted } }
  }
}
