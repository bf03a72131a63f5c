package query

import (
	"errors"
	"fmt"
	"slices"

	"redthread/tracestore/column"
	"redthread/tracestore/trace"
)

// Limits of the calculated fields of a query; the first is Honeycomb's.
const (
	maxCalculated      = 100
	maxCalculatedBytes = 255 // of a name
)

// calcField is a compiled [CalculatedField]: a column that no block has, worked
// out from others where it is asked for.
type calcField struct {
	name   string
	at     string   // where it stands: calculated_fields[2]
	inputs []string // the columns that it reads, by slot; fields before it too
	eval   evalFunc
	types  typeSet
	slow   bool // one row may take long
}

// calcFields are the calculated fields of a query. Nil: none.
type calcFields struct {
	list       []*calcField
	byName     map[string]*calcField
	regexSteps int
}

// field returns the calculated field of that name, nil if there is none.
func (fs *calcFields) field(name string) *calcField {
	if fs == nil {
		return nil
	}
	return fs.byName[name]
}

// compileFields compiles calculated fields. Errors are *[InvalidError], or
// *[SyntaxError] if they have a place in an expression.
func compileFields(list []CalculatedField) (*calcFields, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if len(list) > maxCalculated {
		return nil, &InvalidError{"calculated_fields", fmt.Sprintf("At most %d.", maxCalculated)}
	}
	fs := &calcFields{byName: make(map[string]*calcField, len(list))}
	for i, f := range list {
		at := fmt.Sprintf("calculated_fields[%d]", i)
		if err := fs.checkName(at+".name", f.Name); err != nil {
			return nil, err
		}
		field, err := fs.compile(f, at, list[i:])
		if err != nil {
			return nil, within(at+".expression", err)
		}
		fs.list = append(fs.list, field)
		fs.byName[f.Name] = field
	}
	return fs, nil
}

// checkName reports a name that stands for something else already.
func (fs *calcFields) checkName(at, name string) error {
	if err := checkColumn(at, name); err != nil {
		return err
	}
	_, fixed := column.FixedType(name)
	s, _ := cutScope(name)
	switch {
	case s != noScope:
		return &InvalidError{at, fmt.Sprintf("Names that begin with %s speak of other spans. Give the calculated field another one.", scopePrefixes[s])}
	case len(name) > maxCalculatedBytes:
		return &InvalidError{at, fmt.Sprintf("A name may have %d bytes.", maxCalculatedBytes)}
	case fixed || inEveryRow(name) || name == column.StatusMessage || name == column.TraceState || slices.Contains(rateColumns, name):
		return &InvalidError{at, fmt.Sprintf("%q is a column that rows have by themselves. Give the calculated field a name of its own.", name)}
	case fs.byName[name] != nil:
		return &InvalidError{at, fmt.Sprintf("There are two calculated fields named %q.", name)}
	}
	return nil
}

// calcCompiler compiles one expression.
type calcCompiler struct {
	source string
	fields *calcFields
	field  *calcField
	later  []CalculatedField // this one and those after it
}

func (c *calcCompiler) fault(at int, format string, args ...any) *SyntaxError {
	return faultAt(c.source, at, format, args...)
}

func (fs *calcFields) compile(f CalculatedField, at string, later []CalculatedField) (*calcField, error) {
	e, fault := parseExpression(f.Expression)
	if fault != nil {
		return nil, fault
	}
	c := &calcCompiler{source: f.Expression, fields: fs, field: &calcField{name: f.Name, at: at}, later: later}
	op, err := c.compile(e)
	if err != nil {
		return nil, err
	}
	c.field.eval, c.field.types = op.eval, op.types
	return c.field, nil
}

// slot returns the place of a column among the inputs.
func (c *calcCompiler) slot(name string) int {
	i := slices.Index(c.field.inputs, name)
	if i < 0 {
		i = len(c.field.inputs)
		c.field.inputs = append(c.field.inputs, name)
	}
	return i
}

func (c *calcCompiler) compile(e *expr) (operand, error) {
	switch e.kind {
	case exprLiteral:
		return constantOf(e.value), nil
	case exprColumn:
		return c.column(e)
	}
	f, ok := calcFuncs[e.name]
	if !ok {
		return operand{}, c.fault(e.at, "There is no function %s", e.name)
	}
	if n := len(e.args); n < f.least || f.most >= 0 && n > f.most {
		return operand{}, c.fault(e.at, "%s takes %s, got %d", e.name, f.arguments(), n)
	}
	args := make([]operand, len(e.args))
	op := operand{types: f.types, constant: len(args) > 0}
	for i, arg := range e.args {
		var err error
		if args[i], err = c.compile(arg); err != nil {
			return operand{}, err
		}
		op.constant = op.constant && args[i].constant
		if f.types == 0 {
			op.types |= args[i].types
		}
	}
	var err error
	if op.eval, err = f.build(c, e, args); err != nil {
		return operand{}, err
	}
	if op.constant {
		return constantOf(op.eval(&calcRow{})), nil
	}
	return op, nil
}

func constantOf(v trace.Value) operand {
	return operand{eval: func(*calcRow) trace.Value { return v }, types: typesOf(v.Type), constant: true, value: v}
}

// arguments says in words how many arguments a function takes.
func (f *calcFunc) arguments() string {
	switch {
	case f.most < 0:
		return fmt.Sprintf("at least %s", plural(f.least))
	case f.least < f.most:
		return fmt.Sprintf("%d to %s", f.least, plural(f.most))
	}
	return plural(f.least)
}

func plural(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

func (c *calcCompiler) column(e *expr) (operand, error) {
	if err := checkColumn("", e.name); err != nil {
		var invalid *InvalidError
		errors.As(err, &invalid)
		return operand{}, c.fault(e.at, "%s", invalid.Message[:len(invalid.Message)-1])
	}
	for i, f := range c.later {
		switch {
		case f.Name != e.name:
		case i == 0:
			return operand{}, c.fault(e.at, "This calculated field cannot be made from itself. If an attribute has this name too, give the field another one")
		default:
			return operand{}, c.fault(e.at, "The calculated field %q stands after this one. Put it before", e.name)
		}
	}
	types := anyType
	if f := c.fields.field(e.name); f != nil {
		types = f.types
	}
	slot := c.slot(e.name)
	return operand{eval: func(r *calcRow) trace.Value { return r.in[slot] }, types: types}, nil
}

// calcInput is a value as expressions see it: bytes and lists are their canonical
// text, NaN is no value.
func calcInput(v trace.Value) trace.Value {
	switch v.Type {
	case trace.TypeBytes, trace.TypeJSON:
		return trace.String(v.Text())
	case trace.TypeFloat:
		return floatOf(v.Float())
	}
	return v
}

// run evaluates the field for a row.
func (f *calcField) run(r *calcRow) (trace.Value, error) {
	v := f.eval(r)
	if r.long {
		return trace.Value{}, &InvalidError{f.at + ".expression", fmt.Sprintf("CONCAT makes a text of more than %d KiB here.", maxTextBytes>>10)}
	}
	return v, nil
}

// reads lists the columns of blocks that the named columns are made from, each
// once.
func (fs *calcFields) reads(names []string) []string {
	if fs == nil {
		return names
	}
	var out []string
	seen := make(map[string]bool)
	for todo := slices.Clone(names); len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		if f := fs.field(name); f != nil {
			todo = append(todo, f.inputs...)
		} else {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// spanFields works out calculated fields of a span, each once.
type spanFields struct {
	fields *calcFields
	span   *trace.Span
	around *resolution // nil: nothing is asked of other spans
	known  map[*calcField]trace.Value
}

// value is the value of a column, calculated or not.
func (s *spanFields) value(name string) (trace.Value, error) {
	f := s.fields.field(name)
	if f == nil {
		if of, rest := cutScope(name); of != noScope {
			return s.around.value(of, rest, s.span), nil
		}
		return spanValue(s.span, name), nil
	}
	if v, ok := s.known[f]; ok {
		return v, nil
	}
	r := calcRow{in: make([]trace.Value, len(f.inputs))}
	for i, input := range f.inputs {
		v, err := s.value(input)
		if err != nil {
			return v, err
		}
		r.in[i] = calcInput(v)
	}
	v, err := f.run(&r)
	if s.known == nil {
		s.known = make(map[*calcField]trace.Value)
	}
	s.known[f] = v
	return v, err
}

// missing warns of columns that no row has, of attributes that calculated fields
// hide, and of filters that say nothing.
func (q *where) missing(names []string, blocks []column.Block) []string {
	names = q.fields.reads(names)
	out := missing(slices.DeleteFunc(slices.Clone(names), isScoped), blocks)
	if q.resolved != nil {
		out = append(out, q.resolved.missing(names)...)
	}
	out = append(out, q.never(blocks)...)
	if q.fields == nil {
		return out
	}
	for _, f := range q.fields.list {
		if slices.ContainsFunc(blocks, func(b column.Block) bool { return newView(b).has(f.name) }) {
			out = append(out, fmt.Sprintf("The calculated field %q hides the attribute of that name.", f.name))
		}
	}
	return out
}
