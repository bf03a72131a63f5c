// Package parquet writes and reads Parquet files column by column, from typed
// slices and into them, without a value in between. It knows the part of the
// format (github.com/apache/parquet-format) that segments use: flat columns,
// required and optional, and the leaves of lists and maps whose other levels are
// required; INT64, DOUBLE, BOOLEAN, BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY; the
// encodings PLAIN, RLE_DICTIONARY, RLE and DELTA_BINARY_PACKED; zstd. What it
// writes is plain Parquet for any other reader; of others' files it reads what is
// of these shapes. Damaged bytes give an [*Error], never a panic, and no memory
// that the file's size or its rows do not explain.
//
// # File
//
//	"PAR1"
//	for each column of each row group, in any order:
//	    dictionary page   if the values are ids
//	    data pages        version 2, about 16 KiB before compression
//	offset indexes        of chunks over 32 KiB and of the very first: where pages are
//	footer                Thrift compact: schema, row groups, metadata
//	length of the footer  u32, little-endian, as all numbers
//	"PAR1"
//
// A page is a header (Thrift compact) with the CRC-32 of the bytes that follow it:
// repetition levels, definition levels, and the values, which are compressed unless
// that saves less than 5 %. The codec of all chunks is zstd; a page says if it is
// not compressed. A dictionary over 16 KiB is a row of zstd frames, all of the same
// number of values but the last: a reader of a few rows needs but one of them. The
// last pair of the metadata, redthread.crc32, is the CRC-32 of the footer before
// it, in hex. Each chunk says how many nulls it has; a required INT64 also its
// least and greatest value.
//
// # Encodings
//
//	BOOLEAN     RLE, true never as a repetition: some readers misread it
//	INT64       RLE_DICTIONARY up to 4,096 different values in a row group and if
//	            they are repeated, else DELTA_BINARY_PACKED
//	DOUBLE      likewise, else PLAIN
//	FIXED       PLAIN
//	BYTE_ARRAY  RLE_DICTIONARY in the order of first appearance if that is less
//	            than three quarters of PLAIN
//
// Measured on 262,872 spans of the benchmark in the order of arrival, bytes a row
// in the file: span ids 8.0, start times 4.1, durations 3.5, parent ids 2.1, trace
// ids 1.9, request and session ids 1.7 and 1.6, everything 46.7 (51.5 with [Fast]).
// What was tried and did not pay: a dictionary for trace and parent ids (6.3 and
// 4.2 instead of 1.9 and 2.1), byte streams split instead of differences (3.2
// instead of 3.5 for durations, and few readers know it for INT64), data pages of
// version 1, whose levels are compressed (0.9 less of everything, but presence costs
// a decompression), packing wide ids to the bit (1.3 more). Pages of 64, 32, 16 and
// 8 KiB take 44.7, 44.9, 45.5 and 46.5 and a first lookup of a trace of twelve spans
// 2.5, 2.1, 1.8 and 1.8 ms; dictionaries in frames then brought 1.2 ms.
//
// # Example
//
// One optional text column k, three rows: "a", none, "bb".
//
//	50 41 52 31                                  PAR1
//	15 06 15 1a 15 1a                            data page v2; 13 bytes, 13 as stored
//	15 ae b6 eb fe 0f                            their CRC-32
//	4c 15 06 15 02 15 06 15 00 15 04 15 00 12    3 values, 1 null, 3 rows; PLAIN;
//	00 00                                        2 bytes of definition levels, none of
//	                                             repetition; not compressed
//	03 05                                        levels: eight packed bits, 1 0 1
//	01 00 00 00 61 02 00 00 00 62 62             "a", "bb"
//	19 1c 16 08 15 52 16 00 00 00                offset index: byte 4, 41 bytes, row 0
//	…                                            footer, 117 bytes
//	75 00 00 00 50 41 52 31                      its length, PAR1
package parquet
