# The cases: what is done to the watched table, and which bar and goal the extension is held to.
#
# Every case is measured for each of its variants, in a new random order each round, on newly filled tables. A case says
# how:
#
#   statement      one statement over all rows, timed; in a session that has captured before
#   transactions   a pgbench script of single-row transactions: microseconds of wall-clock time per transaction
#   memory         one DELETE of many rows: highest private memory of the backend, once per variant
#   session        many transactions in one session, prepared and then executed with ever new ids: the last ones against
#                  the first ones
#   linear         DELETE of ever more rows: added microseconds per row
#   of             takes another figure from the runs of another case
#
# and how the extension is judged, with bar and goal as upper limits:
#
#   ratio          its median against that of no trigger
#   median         its own median
#   difference     its median minus that of no trigger

package Bench::Cases;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT_OK = qw(cases);

my $next_id = "\\set n :n + 1\n\\set id :base + :client_id * :share + :n\n";

# What an ORM sends that writes back all it has read.
my $same_values = 'id = id, title = title, views = views, images = images, schema = schema';

# What a statement takes out of each row, as SQL over the row before it.
my $all_urls = q{images || (schema->>'imageUrl')};
my $third_image = 'ARRAY[images[3]]';
my $nothing = q{'{}'::text[]};

sub single_deletes
{
	my ($synchronous_commit, $clients, $bar, $goal) = @_;
	my $count = $clients == 1 ? '1 client' : "$clients clients";
	return {
		id => "single_delete_${synchronous_commit}_$clients",
		title => "single-row DELETE transactions, synchronous_commit $synchronous_commit, $count",
		how => 'transactions',
		transactions => "${next_id}DELETE FROM patches WHERE id = :id;",
		synchronous_commit => $synchronous_commit,
		clients => $clients,
		urls_per_row => 4,
		judge => 'ratio', bar => $bar, goal => $goal,
	};
}

my @cases = (
	{
		id => 'bulk_delete',
		title => 'one DELETE of all rows, 4 URLs each',
		how => 'statement',
		statement => 'DELETE FROM patches',
		removes => $all_urls, urls_per_row => 4,
		judge => 'ratio', bar => 4.0, goal => 2.3,
		# So many times slower must the hand-written row trigger be.
		times_plpgsql => 6,
	},
	{
		id => 'bulk_delete_cascade',
		title => 'the same with one ON DELETE CASCADE child, indexed and empty',
		how => 'statement',
		statement => 'DELETE FROM patches',
		child => 1,
		removes => $all_urls, urls_per_row => 4,
		judge => 'ratio', bar => 1.5, goal => 1.25,
	},
	single_deletes('on', 1, 1.20, 1.12),
	single_deletes('on', 4, 1.20, 1.12),
	single_deletes('off', 1, 1.55, 1.20),
	single_deletes('off', 4, 1.55, 1.20),
	# Many more backends than cores, all at the end of one outbox.
	single_deletes('off', 32, 1.55, 1.20),
	{
		id => 'bulk_update_untouched',
		title => 'UPDATE of all rows not touching watched columns',
		how => 'statement',
		statement => 'UPDATE patches SET views = views + 1',
		removes => $nothing, urls_per_row => 0,
		judge => 'ratio', bar => 1.15, goal => 1.05,
	},
	{
		id => 'single_update_untouched',
		title => 'single-row UPDATE transactions not touching them, synchronous_commit off, 1 client',
		how => 'transactions',
		transactions => "${next_id}UPDATE patches SET views = views + 1 WHERE id = :id;",
		synchronous_commit => 'off',
		clients => 1,
		urls_per_row => 0,
		judge => 'ratio', bar => 1.08, goal => 1.03,
	},
	{
		id => 'orm_update',
		title => 'one UPDATE of all rows that writes every column unchanged',
		how => 'statement',
		statement => "UPDATE patches SET $same_values",
		removes => $nothing, urls_per_row => 0,
		judge => 'ratio', bar => 1.20, goal => 1.08,
	},
	{
		id => 'orm_update_single',
		title => 'the same as single-row transactions, synchronous_commit off, 1 client',
		how => 'transactions',
		transactions => "${next_id}UPDATE patches SET $same_values WHERE id = :id;",
		synchronous_commit => 'off',
		clients => 1,
		urls_per_row => 0,
		judge => 'ratio', bar => 1.20, goal => 1.08,
	},
	{
		id => 'bulk_update_remove_one',
		title => 'UPDATE of all rows removing one image each',
		how => 'statement',
		statement => 'UPDATE patches SET images = images[1:2]',
		removes => $third_image, urls_per_row => 1,
		judge => 'ratio', bar => 1.5, goal => 1.35,
	},
	{
		id => 'wal_bulk_delete',
		title => 'WAL written by bulk_delete',
		how => 'of', of => 'bulk_delete', figure => 'wal', unit => 'MB',
		judge => 'median', bar => 50, goal => 20,
	},
	{
		id => 'memory_5m',
		title => 'private memory of the backend for one big DELETE, above no trigger; no temporary file',
		how => 'memory', figure => 'memory',
		statement => 'DELETE FROM patches',
		urls_per_row => 4,
		variants => [qw(none ours)],
		judge => 'difference', bar => 128, goal => 64,
	},
	{
		id => 'session_30000',
		title => 'the last transactions of one long session against its first',
		how => 'session', figure => 'growth',
		prepare => 'PREPARE remove AS DELETE FROM patches WHERE id = $1',
		execute => 'EXECUTE remove',
		urls_per_row => 4,
		variants => [qw(none none_again ours)],
		judge => 'ratio', bar => 1.05,
	},
	{
		id => 'linear',
		title => 'DELETE of ever more rows: microseconds that capture adds to a row',
		how => 'linear',
		statement => 'DELETE FROM patches',
		urls_per_row => 4,
		variants => [qw(none ours)],
	});

sub cases { return @cases; }

1;
