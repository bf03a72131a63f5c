package query

import (
	"fmt"

	"redthread/tracestore/trace"
)

// Limits of an expression. The first is that of a page of text; the second keeps
// a person's expression far from what the parser's recursion can take.
const (
	maxExpressionBytes = 16 << 10
	maxExpressionDepth = 100 // parentheses and calls within each other
)

type exprKind uint8

const (
	exprLiteral exprKind = iota
	exprColumn
	exprCall
)

// expr is a parsed expression. An operator is a call of the function that means
// the same.
type expr struct {
	kind  exprKind
	value trace.Value
	name  string // column, or function
	args  []*expr
	at    int // byte offset in the source
}

// operatorFuncs are the operators between two values: the function that each one
// is, and how tightly it binds.
var operatorFuncs = map[string]struct {
	function string
	binds    int
}{
	"OR":  {"OR", 1},
	"AND": {"AND", 2},
	"=":   {"EQUALS", 3}, "!=": {"EQUALS", 3}, // in a NOT
	"<": {"LT", 4}, "<=": {"LTE", 4}, ">": {"GT", 4}, ">=": {"GTE", 4},
	"+": {"SUM", 5}, "-": {"SUB", 5},
	"*": {"MUL", 6}, "/": {"DIV", 6}, "%": {"MOD", 6},
}

const bindsNot = 7 // !a = b is (!a) = b, as in Honeycomb

// parser reads an expression by recursive descent.
type parser struct {
	lexer
	token token // the next one
	depth int
}

// parseExpression reads an expression. The functions' names and numbers of
// arguments are not checked yet.
func parseExpression(source string) (*expr, *SyntaxError) {
	if len(source) > maxExpressionBytes {
		return nil, faultAt(source, maxExpressionBytes, "An expression may have %d bytes; make two calculated fields of it", maxExpressionBytes)
	}
	p := &parser{lexer: lexer{source: source}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	e, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if p.token.kind != tokenEnd {
		return nil, p.unexpected("an operator, or the end")
	}
	return e, nil
}

func (p *parser) advance() *SyntaxError {
	var err *SyntaxError
	p.token, err = p.next()
	return err
}

func (p *parser) is(sign string) bool { return p.token.kind == tokenSign && p.token.text == sign }

// unexpected says what is wanted where the next token stands.
func (p *parser) unexpected(want string) *SyntaxError {
	if p.token.kind == tokenEnd {
		return p.fault(p.token.at, "The expression ends too early; want %s", want)
	}
	got := []rune(p.source[p.token.at:p.at])
	return p.fault(p.token.at, "Want %s, got %s", want, string(got[:min(len(got), 40)]))
}

// expression reads values and the operators between them that bind more tightly
// than the one before.
func (p *parser) expression(binds int) (*expr, *SyntaxError) {
	if p.depth++; p.depth > maxExpressionDepth {
		return nil, p.fault(p.token.at, "Parentheses stand %d deep within each other; make two calculated fields of it", maxExpressionDepth)
	}
	defer func() { p.depth-- }()
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	for p.token.kind == tokenName || p.token.kind == tokenSign {
		sign, at := p.token.text, p.token.at
		op, ok := operatorFuncs[sign]
		if !ok || op.binds <= binds {
			break
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		right, err := p.expression(op.binds)
		if err != nil {
			return nil, err
		}
		left = &expr{kind: exprCall, name: op.function, args: []*expr{left, right}, at: at}
		if sign == "!=" {
			left = &expr{kind: exprCall, name: "NOT", args: []*expr{left}, at: at}
		}
	}
	return left, nil
}

// operand reads one value: a literal, a column, a call, what stands in
// parentheses, or one of these after a ! or a minus.
func (p *parser) operand() (*expr, *SyntaxError) {
	t := p.token
	switch {
	case t.kind == tokenLiteral:
		return &expr{kind: exprLiteral, value: t.value, at: t.at}, p.advance()
	case t.kind == tokenColumn:
		return &expr{kind: exprColumn, name: t.text, at: t.at}, p.advance()
	case t.kind == tokenName:
		return p.call()
	case p.is("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		if !p.is(")") {
			return nil, p.unexpected(fmt.Sprintf("the ) that closes the ( at character %d", p.character(t.at)))
		}
		return e, p.advance()
	case p.is("!"), p.is("-"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		e, err := p.expression(bindsNot)
		if err != nil {
			return nil, err
		}
		if t.text == "!" {
			return &expr{kind: exprCall, name: "NOT", args: []*expr{e}, at: t.at}, nil
		}
		if e.kind == exprLiteral {
			switch e.value.Type {
			case trace.TypeInt:
				return &expr{kind: exprLiteral, value: trace.Int(-e.value.Int()), at: t.at}, nil
			case trace.TypeFloat:
				return &expr{kind: exprLiteral, value: trace.Float(-e.value.Float()), at: t.at}, nil
			}
		}
		zero := &expr{kind: exprLiteral, value: trace.Int(0), at: t.at}
		return &expr{kind: exprCall, name: "SUB", args: []*expr{zero, e}, at: t.at}, nil
	}
	return nil, p.unexpected("a value: a $column, a function, a number or a text in quotes")
}

func (p *parser) character(offset int) int { return len([]rune(p.source[:offset])) + 1 }

// call reads a function and its arguments. A comma after the last one is allowed.
func (p *parser) call() (*expr, *SyntaxError) {
	t := p.token
	e := &expr{kind: exprCall, name: t.text, at: t.at}
	word := p.source[t.at:p.at]
	if err := p.advance(); err != nil {
		return nil, err
	}
	if !p.is("(") {
		if _, ok := calcFuncs[e.name]; ok {
			return nil, p.fault(t.at, "After %s comes its argument in parentheses", e.name)
		}
		return nil, p.fault(t.at, "%s is neither a function nor a value: a column is $%s, a text %q", word, word, word)
	}
	open := p.token.at
	for {
		if err := p.advance(); err != nil {
			return nil, err
		}
		if p.is(")") {
			return e, p.advance()
		}
		arg, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		e.args = append(e.args, arg)
		if p.is(")") {
			return e, p.advance()
		}
		if !p.is(",") {
			return nil, p.unexpected(fmt.Sprintf("a comma, or the ) that closes the ( at character %d", p.character(open)))
		}
	}
}
