# An HTML page as a tree, for tests of what imagekit.report() writes. Stricter than a browser: a tag that is not closed, an attribute
# without quotes or a bare & dies, so that nothing which was not escaped can hide.
#
#   my $page = ImageKit::Page->new($html);
#   $page->by_id('orphans')->words;               # text, white space squeezed; figures as {value}
#   $_->words for $page->all('tr');

package ImageKit::Page;

use strict;
use warnings;

my %empty = map { $_ => 1 } qw(meta img br);
my %entities = (amp => '&', lt => '<', gt => '>', quot => '"', middot => "\x{b7}", ndash => "\x{2013}", nbsp => "\x{a0}");

sub new
{
	my ($class, $html) = @_;
	$html =~ s/\A<!DOCTYPE html>\n// or die "no document type\n";
	my $root = bless { tag => '', attributes => {}, children => [] }, $class;
	my @open = ($root);
	while ($html =~ /\G(?:<(\/?)([a-zA-Z0-9]+)((?:\s+[^\s=>"'<\/]+(?:="[^"<]*")?)*)\s*(\/?)>|([^<]+))/gc)
	{
		my ($end, $tag, $attributes, $closed, $text) = ($1, $2, $3, $4, $5);
		if (defined $text)
		{
			$text = plain($text) unless $open[-1]{tag} eq 'style';
			push @{ $open[-1]{children} }, $text;
		}
		elsif ($end)
		{
			die "</$tag> closes <$open[-1]{tag}>\n" if $open[-1]{tag} ne $tag;
			pop @open;
		}
		else
		{
			my $node = bless { tag => $tag, attributes => {}, children => [] }, $class;
			$node->{attributes}{ lc $1 } = plain($2 // '') while $attributes =~ /([^\s=]+)(?:="([^"]*)")?/g;
			push @{ $open[-1]{children} }, $node;
			push @open, $node unless $closed || $empty{$tag};
		}
	}
	my $at = pos($html) // 0;
	die 'cannot be read: ' . substr($html, $at, 80) . "\n" if $at < length $html;
	die "<$open[-1]{tag}> is not closed\n" if @open > 1;
	return $root;
}

# As a browser reads it.
sub plain
{
	my ($text) = @_;
	die "a bare & in: $text\n" if $text =~ /&(?!#\d+;|(?:amp|lt|gt|quot|middot|ndash|nbsp);)/;
	$text =~ s/&(?:#(\d+)|(\w+));/defined $1 ? chr $1 : $entities{$2}/ge;
	return $text;
}

sub tag { $_[0]{tag} }
sub attribute { $_[0]{attributes}{ $_[1] } }
sub attributes { %{ $_[0]{attributes} } }

# Nodes below this one, in order: all, or those with a tag.
sub all
{
	my ($self, $tag) = @_;
	return map { ((!defined $tag || $_->{tag} eq $tag ? $_ : ()), $_->all($tag)) } grep { ref } @{ $self->{children} };
}

sub by_class { my ($self, $class) = @_; return grep { ($_->attribute('class') // '') =~ /(?:^| )\Q$class\E(?: |$)/ } $self->all; }

sub by_id
{
	my ($self, $id) = @_;
	my @found = grep { ($_->attribute('id') // '') eq $id } $self->all;
	die scalar(@found) . " nodes have the id $id\n" if @found != 1;
	return $found[0];
}

# All text, letter by letter.
sub text { my ($self) = @_; return join('', map { ref $_ ? $_->text : $_ } @{ $self->{children} }); }

# Text as it is read: what is drawn and what is SQL left out, a figure as {its exact value}.
sub words
{
	my ($self) = @_;
	my $words = join('', map { !ref $_ ? $_ : $_->{tag} eq 'data' ? '{' . $_->attribute('value') . '}' : $_->{tag} =~ /^(?:svg|style|pre|title|summary)$/ ? ' '
		  : $_->{tag} =~ /^(?:bdi|b|a|time|strong)$/ ? $_->words : ' ' . $_->words . ' ' } @{ $self->{children} });
	$words =~ s/\s+/ /g;
	return $words =~ s/^ | $//gr;
}

# Rows of a table, a list of words each.
sub rows { my ($self) = @_; return map { [ map { $_->words } grep { ref } @{ $_->{children} } ] } $self->all('tr'); }

# The SQL below this node: [what it says it is for, statement], ...
sub statements
{
	my ($self) = @_;
	return map { [ ($_->all('p'))[0]->text, ($_->all('code'))[0]->text ] } $self->by_class('sql');
}

1;
