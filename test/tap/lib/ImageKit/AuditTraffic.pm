# What an application does while its library is audited: a process with a session of its own, which uploads files and puts them into
# rows, drops rows, moves them from table to table and from partition to partition, and hands files over from one row to another, until
# it is told to stop. When its session dies it opens another.
#
#   my $traffic = ImageKit::AuditTraffic->start(number => 1, of => 3, only => qr/./, seed => 5, model => $model, directory => ..., connection => ...);
#   ... $traffic->stop;

package ImageKit::AuditTraffic;

use strict;
use warnings;

use parent 'ImageKit::ModelClient';

use ImageKit::AuditModel;
use JSON::PP;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my %values = (
	gallery => 'truth.urls(f)', docs => 'truth.doc(f)', pages => 'truth.html(f)', parts => 'truth.urls(f)', single => 'truth.url(f[1], f[1])');
my @regions = qw(eu us asia);
my $missing = $ImageKit::AuditModel::MISSING + 1_000_000;

sub stop
{
	my ($self) = @_;
	append_to_file("$self->{directory}/$self->{number}.stop", '');
	sleep 0.02 until $self->ended;
	return $self->result // die "traffic $self->{number} has failed\n";
}

# In the process itself ----------------------------------------------------------------------------------------------------

my @actions = (
	[ 8 => 'upload', \&_upload ], [ 5 => 'delete', \&_delete ], [ 6 => 'move', \&_move ], [ 5 => 'partition', \&_change_partition ],
	[ 6 => 'hand over', \&_hand_over ], [ 3 => 'swap', \&_swap ], [ 2 => 'adopt', \&_adopt ], [ 2 => 'overwrite', \&_overwrite ],
	[ 1 => 'remove', \&_remove ], [ 1 => 'roll back', \&_roll_back ]);

sub _run
{
	my ($self) = @_;
	$self->{actions} = [ grep { $_->[1] =~ $self->{only} } @actions ];
	srand($self->{seed});
	$self->{imagekit} = $self->{model}{t}->imagekit->for_child;
	$self->{report} = { kinds => {}, errors => {}, unexpected => [] };
	$self->{next} = $ImageKit::AuditModel::FRESH + 1_000_000 * $self->{number};
	local $SIG{PIPE} = 'IGNORE';
	my $stop = "$self->{directory}/$self->{number}.stop";
	# It makes an audit read the tables again, which takes the longer the more there is: none would ever end.
	my $shuttle_every = 1.5 * max(1, $self->{model}{files} / 30_000);
	my $shuttle_at = time() + 1;
	until (-e $stop)
	{
		my ($kind, @statements) = $self->_any;
		if ($self->{number} == 1 && time() > $shuttle_at) { ($kind, @statements) = ('shuttle', $self->_shuttle); $shuttle_at = time() + $shuttle_every; }
		my $outcome = @statements ? $self->_outcome($self->_send(@statements)) : 'done';
		$self->{report}{kinds}{"$kind: $outcome"}++;
		sleep(rand 0.02) unless @{ $self->{actions} } < @actions;
	}
	my $text = encode_json($self->{report});
	append_to_file($self->{result_file}, $text);
	return;
}

sub _any
{
	my ($self) = @_;
	my $at = 0;
	$at += $_->[0] for @{ $self->{actions} };
	$at = rand $at;
	for my $action (@{ $self->{actions} }) { return ($action->[1], $action->[2]->($self)) if ($at -= $action->[0]) < 0; }
	die;
}

sub _table { return (sort keys %values)[ rand keys %values ]; }
sub _id { my ($self) = @_; return $self->{next}++; }

# A row that is there, and that nobody else is just changing.
sub _row { my ($self, $table) = @_; my $from = int rand $self->{model}->blocks; return "SELECT id FROM $table WHERE id >= $from ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"; }

# INSERT of the files that the SQL of SOURCE gives in the column f.
sub _insert
{
	my ($self, $table, $source) = @_;
	my ($column, $value) = $table eq 'parts' ? (', region', ", '$regions[rand @regions]'") : ('', '');
	my $of = { docs => 'body', pages => 'html', single => 'url' }->{$table} // 'images';
	return "INSERT INTO $table (id$column, files, $of) SELECT " . $self->_id . "$value, f, $values{$table} FROM $source";
}

# Uploaded a moment before the row is there.
sub _upload
{
	my ($self) = @_;
	my $table = _table();
	my @files = map { $self->_id } 1 .. ($table eq 'single' ? 1 : 1 + int rand 3);
	$self->{imagekit}->seed(map { ImageKit::AuditModel::path($_) } @files);
	return $self->_insert($table, '(SELECT ARRAY[' . join(',', @files) . ']) AS x(f)');
}

sub _delete { my ($self) = @_; my $table = _table(); return "DELETE FROM $table WHERE id = (" . $self->_row($table) . ')'; }

# To another table, or to another place in the same, by one transaction.
sub _move
{
	my ($self) = @_;
	my ($from, $to) = (_table(), _table());
	$to = 'gallery' if $to eq 'single' && $from ne 'single';    # has room for one file only
	my $gone = "DELETE FROM $from WHERE id = (" . $self->_row($from) . ') RETURNING files';
	return "WITH gone AS ($gone) " . $self->_insert($to, '(SELECT files AS f FROM gone) AS x');
}

sub _change_partition
{
	my ($self) = @_;
	return "UPDATE parts SET region = '$regions[rand @regions]' WHERE (id, region) = (" . ($self->_row('parts') =~ s/SELECT id/SELECT id, region/r) . ')';
}

# Into another row, and then out of the first: at no moment are they in none.
sub _hand_over
{
	my ($self) = @_;
	my ($from, $to) = (_table(), _table());
	$to = 'docs' if $to eq 'single' && $from ne 'single';
	my $at = int rand $self->{model}->blocks;
	return ("BEGIN", "CREATE TEMP TABLE IF NOT EXISTS handed (id int)", "DELETE FROM handed",
		"INSERT INTO handed SELECT id FROM (SELECT id FROM $from WHERE id >= $at ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) r",
		$self->_insert($to, "(SELECT files AS f FROM $from WHERE id = (SELECT id FROM handed)) AS x"), 'COMMIT',
		"DELETE FROM $from WHERE id = (SELECT id FROM handed)");
}

sub _swap
{
	my ($self) = @_;
	my $file = $self->_id;
	$self->{imagekit}->seed(ImageKit::AuditModel::path($file));
	return "UPDATE gallery SET files = files[2:] || $file, images = truth.urls(files[2:] || $file) WHERE id = (" . $self->_row('gallery') . ')';
}

# Of the files that nobody used, each process has those of its own.
sub _block { my ($self) = @_; my $of = $self->{of}; return $of * int(rand($self->{model}->blocks / $of)) + $self->{number} - 1; }

sub _adopt
{
	my ($self) = @_;
	my $file = 20 * $self->_block + 1;
	return "INSERT INTO keepers SELECT $file, ARRAY[$file], truth.url($file, $file) ON CONFLICT DO NOTHING";
}

sub _overwrite
{
	my ($self) = @_;
	my $file = 20 * $self->_block + (2, 3 + int rand 17)[ rand 2 ];
	# Where it is gone it would be another file, which no row uses.
	$self->{imagekit}->seed(ImageKit::AuditModel::path($file)) if $self->{imagekit}->count(prefix => ImageKit::AuditModel::path($file));
	return;
}

sub _remove { my ($self) = @_; $self->{imagekit}->remove(ImageKit::AuditModel::path(20 * $self->_block + 2)); return; }

# A row that never comes to be, with a file that never was.
sub _roll_back
{
	my ($self) = @_;
	return ('BEGIN', $self->_insert('gallery', "(SELECT ARRAY[$missing]) AS x(f)"), sprintf('SELECT pg_sleep(%.3f)', 0.1 + rand 0.4), 'ROLLBACK');
}

# All rows of a table at once, which leave no trace where they were.
sub _shuttle
{
	my ($self) = @_;
	my ($from, $to) = ($self->{shuttled} = !$self->{shuttled}) ? qw(shuttle_a shuttle_b) : qw(shuttle_b shuttle_a);
	return ('BEGIN', "INSERT INTO $to SELECT * FROM $from", "TRUNCATE $from", 'COMMIT');
}

1;
