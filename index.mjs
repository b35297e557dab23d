import MultiHyperbee from './index.js'

export const { Autobee, Store, Feed, MultiHyperbeeError } = MultiHyperbee
export { MultiHyperbee }
export default MultiHyperbee
