// Ids that are names, not digests: the digest of the entry's id covers the directory that the build happens in, so that the same sources
// would give another bundle in another place, and nobody could check that the committed one is theirs.
module.exports = { optimization: { moduleIds: 'named', chunkIds: 'named' } };
