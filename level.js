'use strict'

// Entry `multi-hyperbee/level`: apart from the package's own, so that only who uses it needs `abstract-level`.
const { MultiHyperbeeLevel } = require('./lib/level/level.js')

exports.MultiHyperbeeLevel = MultiHyperbeeLevel
