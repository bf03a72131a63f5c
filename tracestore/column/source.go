package column

// Source is a block with everything that a segment keeps of it.
type Source interface {
	Block
	// Events and Links return what belongs to the block's rows.
	Events() (Events, error)
	Links() (Links, error)
	// Shapes returns for each row the id of its shape, in dict. A shape is the
	// list of the row's attributes in their order: for each the position in
	// Attributes, as a uvarint.
	Shapes() (ids []uint32, dict Dict, err error)
	// Attributes lists the attribute columns by position, also those under the
	// key of a fixed column, which Columns and Column do not show.
	Attributes() []Info
	// AttributeAt returns the attribute column at a position.
	AttributeAt(position int) (*Vector, error)
}
