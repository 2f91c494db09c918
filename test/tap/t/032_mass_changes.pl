# A table that loses an unusual number of files: not one of them is deleted before an operator has said so, whatever happens to
# the worker meanwhile; everything else goes on.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { max_prepared_transactions => 2 });
my $imagekit = $t->imagekit;
$t->sql('CREATE TABLE large (id int PRIMARY KEY, image text)');
$t->sql(q{SELECT imagekit.watch('large', '{image}')});

sub fill
{
	my ($table, $rows) = @_;
	return $t->sql(qq{INSERT INTO $table SELECT n, '$ENDPOINT/$table/' || md5(n::text) || '.jpg' FROM generate_series(1, $rows) n});
}
sub held { return $t->sql('SELECT held FROM imagekit.status'); }
sub states { return $t->sql(q{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, count(*) AS n FROM imagekit.pending GROUP BY 1) s}); }
sub deletes { return scalar $imagekit->requests(method => 'DELETE'); }
sub warnings { return scalar $t->log_lines(qr/^WARNING:  imagekit_cleanup holds back the files that table public.large has lost/); }

# More than one round takes in, and a crash between them ----------------------------------------------------------------

$t->mark_log;
fill('large', 6000);
$t->sql('DELETE FROM large');
wait_for { held() > 0 } 'some are held';
$t->node->stop('immediate');
$t->node->start;
eventually { held() } '6000', 'a crash in between changes nothing: all of the transaction is held';
is(states(), 'held 6000', 'and nothing but that');
is(warnings(), 1, 'the log says it once');
like($t->cause, qr/6000 files of table large are held \(one transaction removed 6000 files, more than hold_above \(5000\)\): SELECT imagekit\.approve/,
	'the status says why, and what to do');
$t->insert(1, 'other.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->history } 'deleted other.jpg', 'another table is not concerned';
is(deletes(), 1, 'and nothing else was asked of ImageKit');

is($t->sql(q{SELECT imagekit.cancel(relation => 'large', captured_to => '-infinity')}), '0', 'no word for them, no change');
is($t->sql(q{SELECT imagekit.discard(relation => 'large')}), '6000', 'discard() keeps the files');
is($t->pending, '0', 'and nothing is pending');

# Approved --------------------------------------------------------------------------------------------------------------

$t->sql(q{SELECT imagekit.watch('large', '{image}', hold_above => 20)});
fill('large', 30);
$imagekit->seed(map { $_ =~ s/^\Q$ENDPOINT\E//r } split /\n/, $t->sql('SELECT image FROM large'));
# Within a session that ends with PREPARE, the decision comes when it is committed.
$t->sql(q{BEGIN; DELETE FROM large WHERE id <= 25; PREPARE TRANSACTION 'much'});
stays { $t->pending } '0', 'prepared, nothing is queued';
$t->sql(q{COMMIT PREPARED 'much'});
eventually { held() } '25', 'a prepared transaction is held like others';
$t->sql('DELETE FROM large WHERE id = 26');
eventually { held() } '26', 'what the table loses a moment later is held with it';
is($t->sql(q{SELECT imagekit.approve(relation => 'large')}), '26', 'approve() lets them go');
eventually { $t->pending } '0', 'and they are deleted';
is(scalar(@{[ $imagekit->files ]}), 4, 'these and no others');
$t->sql('DELETE FROM large WHERE id = 27');
eventually { $t->pending . ' ' . @{[ $imagekit->files ]} } '0 3', 'what follows is not held for it';

# A table that cannot be read -------------------------------------------------------------------------------------------

$t->sql(q{TRUNCATE imagekit.removals; DELETE FROM large; SELECT imagekit.watch('large', '{image}')});
eventually { $t->pending } '0', 'all is settled';
$t->setting('imagekit_cleanup.enabled', 'off');
fill('large', 2000);
$t->sql('DELETE FROM large WHERE id <= 600');
my $session = $t->node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE large');
$t->setting('imagekit_cleanup.enabled', 'on');
eventually { held() } '600', 'in doubt they are held';
like($t->cause, qr/one transaction removed 600 files, and what share of the table's that is cannot be told: it is locked/, 'and the status says why');
$session->query_safe('ROLLBACK');
$session->quit;
is($t->sql(q{SELECT imagekit.cancel(relation => 'large')}), '600', 'cancel() takes them back');

# An operator in the middle of his work -----------------------------------------------------------------------------------

$t->sql(q{
	CREATE TABLE busy (id int, image text);
	SELECT imagekit.watch('busy', '{image}', grace => '1 hour', hold_above => 10)});
$t->sql("INSERT INTO busy SELECT n, '$ENDPOINT/busy/' || n || '.jpg' FROM generate_series(1, 100) n");
$t->sql('DELETE FROM busy WHERE id <= 8');
eventually { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE relation = 'busy'::regclass}) } '8', 'taken in, and waiting';
my $operator = $t->node->background_psql('postgres');
$operator->query_safe('BEGIN');
is($operator->query_safe(qq{SELECT imagekit.cancel(url => '$ENDPOINT/busy/1.jpg')}), '1', 'an operator takes one back');
$t->sql('DELETE FROM busy WHERE id BETWEEN 9 AND 16');
eventually { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE relation = 'busy'::regclass AND state = 'held'}) } '15', 'the rest is held, without a wait for him';
is($operator->query_safe(qq{SELECT imagekit.cancel(url => '$ENDPOINT/busy/2.jpg')}), '1', 'who goes on');
$operator->query_safe('ROLLBACK');
$operator->quit;
$t->sql(q{UPDATE imagekit.backlog SET due_at = now() WHERE relation = 'busy'::regclass});
eventually { $t->sql(q{SELECT count(*) FROM imagekit.backlog WHERE relation = 'busy'::regclass AND state = 'held'}) } '16', 'what he did not take back after all is held before it is sent';
is($t->sql(q{SELECT imagekit.cancel(relation => 'busy')}), '16', 'cancel() takes them back');

# Rows that moved without their images ----------------------------------------------------------------------------------

$t->sql(q{
	CREATE TABLE routed (id int, image text, zone int) PARTITION BY LIST (zone);
	CREATE TABLE routed_1 PARTITION OF routed FOR VALUES IN (1);
	CREATE TABLE routed_2 PARTITION OF routed FOR VALUES IN (2);
	SELECT imagekit.watch('routed', '{image}')});
$t->sql(qq{INSERT INTO routed SELECT n, '$ENDPOINT/routed/' || n || '.jpg', 1 FROM generate_series(1, 1100) n});
$imagekit->forget;
$t->sql('UPDATE routed SET zone = 2, image = CASE WHEN id > 600 THEN image END');
eventually { held() } '600', 'images dropped by rows that move to another partition are held, too';
is(states(), 'held 600', 'all of them');
is(deletes(), 0, 'before any is deleted');

done_testing();
