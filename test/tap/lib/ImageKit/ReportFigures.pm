# What the charts of imagekit.report() are to say, told a second time from the figures beneath them, for tests of the figures.
#
#   my $today = begin_of_today();         # not just before midnight
#   is(join("\n", table($page->by_id('queue'))), ...);
#   chart_says($page, 'queue', title => 'Queue', label => 'files', scale => [ scale_of_counts(138) ], days => [ first_days(30) ], text => ...);

package ImageKit::ReportFigures;

use strict;
use warnings;

use Exporter 'import';
use ImageKit::Test;
use POSIX ();
use Test::More;
use Time::Local qw(timegm);

our @EXPORT = qw(begin_of_today written at day bytes sum percentile table more chart_says dots_are with_commas scale_of_counts scale_of_bytes first_days);

my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);
my $today;

# By UTC. What the test does in the next minutes is not split by midnight.
sub begin_of_today
{
	wait_for { time() % 86400 < 86400 - 100 } 'it is not just before midnight', 110;
	return $today = time() - time() % 86400;
}

# When the page was.
sub written { my ($page) = @_; return (map { my @time = split(/[-T:Z]/, $_->attribute('datetime')); timegm(@time[ 5, 4, 3, 2 ], $time[1] - 1, $time[0]) } ($page->all('header'))[0]->all('time'))[0]; }

sub at { my ($time) = @_; my @at = gmtime($time); return sprintf('%d %s %d, %02d:%02d', $at[3], $months[ $at[4] ], $at[5] + 1900, @at[ 2, 1 ]); }
sub day { my ($ago) = @_; return at($today - 86400 * $ago) =~ s/,.*//r; }
sub bytes { my ($text) = @_; utf8::encode($text); return $text; }
sub sum { my $sum = 0; $sum += $_ for @_; return $sum; }

# Smallest value that at least this share of them do not exceed.
sub percentile { my ($share, @values) = @_; my $place = POSIX::ceil($share * @values); return (sort { $a <=> $b } @values)[ ($place || 1) - 1 ]; }

sub table { my ($node) = @_; return map { bytes(join(' | ', @$_)) } $node->rows; }

# What lists say of what they leave out.
sub more { my ($node) = @_; return map { $_->words } $node->by_class('more'); }

# A check that a chart says what is expected of it: title, text, label (what the scale is of), scale (from below), days (beneath it); name
# of the check, where it is not the chart's.
sub chart_says
{
	my ($page, $id, %expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $name = $expected{name} // $id;
	my ($chart) = grep { ($_->attribute('class') // '') eq 'plot' } $page->by_id($id)->all('svg');
	is(($chart->all('title'))[0]->text, $expected{title}, "$name: its title");
	is(bytes(($chart->all('desc'))[0]->text), $expected{text}, "$name: $expected{text}");
	my @texts = grep { defined $_->attribute('y') } $chart->all('text');
	is(join(', ', map { $_->text } grep { $_->attribute('x') eq '0' && $_->attribute('y') eq '12' } @texts), $expected{label}, "$name: what its scale is of");
	is(join(', ', map { $_->text } grep { $_->attribute('x') eq '-8' } @texts), join(', ', @{ $expected{scale} }), "$name: its scale");
	is(join(', ', map { $_->text } grep { $_->attribute('y') eq '219' } @texts), join(', ', @{ $expected{days} }), "$name: its days");
	return;
}

# Its dots say what the table beneath has, as people read it.
sub dots_are
{
	my ($figure, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($head, @rows) = map { [ grep { ref } @{ $_->{children} } ] } $figure->all('tr');
	my @expected = map { my @cells = @$_; map { my ($data) = $cells[$_]->all('data'); $data ? $cells[0]->text =~ s/,.*//r . ': ' . $head->[$_]->text . ', ' . $data->text =~ tr/\x{a0}/ /r : () } 1 .. $#cells } @rows;
	return is(join("\n", sort map { ($_->all('title'))[0]->text } $figure->all('circle')), join("\n", sort @expected), "$name: what its dots say");
}

sub with_commas { my ($number) = @_; 1 while $number =~ s/^(\d+)(\d{3})/$1,$2/; return $number; }

# Their steps are 1, 2 or 5 times a power of ten, and there are four or a few more.
sub scale_of_counts
{
	my ($most) = @_;
	my ($step) = grep { 4 * $_ >= $most } map { my $power = 10**$_; map { $power * $_ } 1, 2, 5 } 0 .. 9;
	return map { with_commas($step * $_) } 0 .. POSIX::ceil($most / $step);
}

# A power of two each.
sub scale_of_bytes
{
	my ($most) = @_;
	my ($step) = grep { 4 * $_ >= $most } map { 2**$_ } 0 .. 50;
	return map { my ($unit, $amount) = (0, $step * $_); ($unit, $amount) = ($unit + 1, $amount / 1024) while $amount >= 1024; "$amount " . (qw(B kB MB GB))[$unit] } 0 .. POSIX::ceil($most / $step);
}

# The days that are named beneath a chart of so many.
sub first_days { my ($days) = @_; my $each = POSIX::ceil($days / 4); return map { day($days - 1 - $each * $_) =~ s/ \d+$//r } grep { $each * $_ < $days } 0 .. 3; }

1;
