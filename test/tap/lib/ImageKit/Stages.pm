# The stages of the way of a file at which ImageKit is asked, each with files that need exactly this kind of request.
#
#   my $stages = ImageKit::Stages->new($t);
#   my $round = $stages->look_ups;       # deletes rows whose files are looked up in every way there is, all at once
#   $stages->asked(fault => 1);          # "folder ids listing names single": the requests that met a fault
#   $stages->rest;                       # what must never be deleted, and is to be all that the library has in the end
#
# In each round one file a kind is still used by a row, and shares its request with those that are not.

package ImageKit::Stages;

use strict;
use warnings;

use ImageKit::Test;

# The server's account must have search_size '4': what is looked up by name is shared out to searches of four names, in order.
sub new
{
	my ($class, $t) = @_;
	$t->imagekit->seed('/stays.jpg', '/folder/stays.jpg');
	return bless { t => $t, round => 0, rest => { '/stays.jpg' => 1, '/folder/stays.jpg' => 1 } }, $class;
}

# Each kind of look-up, by two to four files. Returns the round's name, which every URL of it holds.
sub look_ups
{
	my ($self) = @_;
	my $round = $self->_next;
	$self->{by_name} = [
		(map { "folder/$round-$_.jpg" } 1 .. 4), (map { "$round-$_/$round-$_.jpg" } 5 .. 8), "single/$round-9.jpg",
		"quoted/$round-%22-10.jpg", "quoted/$round-%22-11.jpg" ];
	return $self->_remove($round, [ map { "ids/$round-$_.jpg" } 12 .. 14 ], @{ $self->{by_name} });
}

# One file, or several: "delete" or "bulk".
sub one { my ($self) = @_; my $round = $self->_next; return $self->_remove($round, [], "one/$round.jpg"); }
sub many { my ($self) = @_; my $round = $self->_next; return $self->_remove($round, [], map { "many/$round-$_.jpg" } 1 .. 4); }

# The kinds of the requests in the journal, each once, sorted.
sub asked
{
	my ($self, %only) = @_;
	my %kinds = map { kind($_) => 1 } grep { !$only{fault} || $_->{fault} } $self->{t}->imagekit->journal;
	return join ' ', sort keys %kinds;
}

# Which kind of request an entry of the journal is.
sub kind
{
	my ($entry) = @_;
	return 'delete' if $entry->{method} eq 'DELETE';
	return $entry->{path} =~ /purge/ ? 'purge' : 'bulk' if $entry->{method} eq 'POST';
	my $query = $entry->{query}{searchQuery};
	my $in_folder = exists $entry->{query}{path};
	return $in_folder ? 'listing' : 'probe' unless defined $query;
	return 'ids' if $query =~ / id IN /;
	return 'single' if $query =~ / name = /;
	return $in_folder ? 'folder' : 'names';
}

# "state attempted why" of what waits of a round, each once; attempted: whether an attempt is counted.
sub waits
{
	my ($self, $round) = @_;
	return $self->{t}->sql(qq{
		SELECT string_agg(DISTINCT concat_ws(' ', state, CASE WHEN attempts > 0 THEN 'attempted' ELSE 'not-attempted' END, last_error), E'\\n')
		FROM imagekit.pending WHERE url ~ '$round\\M'});
}

# "outcome" of what is settled of a round, each once with its number.
sub outcomes
{
	my ($self, $round) = @_;
	return $self->{t}->sql(qq{
		SELECT string_agg(n || ' ' || outcome, ', ' ORDER BY outcome)
		FROM (SELECT outcome, count(*) AS n FROM imagekit.history WHERE url ~ '$round\\M' GROUP BY outcome) o});
}

sub rest { my ($self) = @_; return join ' ', sort keys %{ $self->{rest} }; }

# What is left to be done, and to be undone: "0 ..." and rest() when all is well.
sub state { my ($self) = @_; return $self->{t}->pending . ' ' . $self->{t}->files; }

sub _next { my ($self) = @_; return sprintf 'r%03d', ++$self->{round}; }

sub _remove
{
	my ($self, $round, $with_ids, @by_name) = @_;
	my $t = $self->{t};
	(my @paths = map { "/$_" } @by_name, @$with_ids);
	s/%22/"/g for @paths;
	my @ids = $t->imagekit->seed(@paths);
	my $urls = sub { return 'ARRAY[' . join(', ', map { "'$ENDPOINT/$_'" } @_) . ']::text[]' };
	my @objects = map { qq({"url": "$ENDPOINT/$with_ids->[$_]", "fileId": "$ids[ @by_name + $_ ]"}) } 0 .. $#$with_ids;
	my @used = grep { @by_name > 1 && /-(1|5|10|12)\.jpg$/ } @by_name, @$with_ids;
	my $number = $self->{round};
	my $schema = '{"imageUrl": [' . join(', ', @objects) . ']}';
	$t->sql("INSERT INTO patches VALUES ($number, " . $urls->(@by_name) . ", '$schema');
		INSERT INTO modules VALUES ($number, " . $urls->(@used) . ");
		DELETE FROM patches WHERE id = $number");
	for (@used) { (my $path = "/$_") =~ s/%22/"/; $self->{rest}{$path} = 1; }
	return $round;
}

1;
