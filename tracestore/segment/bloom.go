package segment

import "encoding/binary"

// A bloom filter is a run of 32-byte blocks. A hash picks one block by its upper
// half and sets one bit in each of the block's eight words by its lower half: the
// split block filter of the Parquet format (BloomFilter.md, Putze et al. 2007), so
// that a question touches one cache line and one page of the file.
const (
	bloomBlockBytes = 32
	// bloomBitsPerEntry gives about 2 % false answers (measured: TestBloom).
	bloomBitsPerEntry = 9
)

// bloomSalts are the odd constants of the Parquet specification.
var bloomSalts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// bloomBlocks is the number of blocks for so many entries.
func bloomBlocks(entries int) int {
	return max(1, (entries*bloomBitsPerEntry+8*bloomBlockBytes-1)/(8*bloomBlockBytes))
}

// bloomBlock is the block of a filter in which a hash lies.
func bloomBlock(hash uint64, blocks int) int { return int((hash >> 32) * uint64(blocks) >> 32) }

// bloomAdd adds a hash to a filter.
func bloomAdd(filter []byte, hash uint64) {
	at := bloomBlock(hash, len(filter)/bloomBlockBytes) * bloomBlockBytes
	block := filter[at : at+bloomBlockBytes]
	for i, salt := range bloomSalts {
		word := binary.LittleEndian.Uint32(block[4*i:])
		binary.LittleEndian.PutUint32(block[4*i:], word|1<<(uint32(hash)*salt>>27))
	}
}

// bloomHas reports whether the hash may have been added to the filter of which
// this is the hash's block.
func bloomHas(block []byte, hash uint64) bool {
	for i, salt := range bloomSalts {
		if binary.LittleEndian.Uint32(block[4*i:])>>(uint32(hash)*salt>>27)&1 == 0 {
			return false
		}
	}
	return true
}
