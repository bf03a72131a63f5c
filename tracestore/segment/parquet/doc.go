// Package parquet writes and reads Parquet files column by column, from typed
// slices and into them, without a value in between. It knows the part of the
// format (github.com/apache/parquet-format) that segments use: flat columns,
// required and optional, and the leaves of lists and maps whose other levels are
// required; INT64, DOUBLE, BOOLEAN, BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY; the
// encodings PLAIN, RLE_DICTIONARY, RLE and DELTA_BINARY_PACKED; zstd. What it
// writes is plain Parquet for any other reader; of others' files it reads what is
// of these shapes.
package parquet
