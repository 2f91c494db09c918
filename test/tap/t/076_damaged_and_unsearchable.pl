# What cannot be read holds nobody up, is to be seen, and costs no attempt: damaged tuples of the journal, and a watched table that
# cannot be searched.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.max_attempts' => 4, 'imagekit_cleanup.retry_delay_max' => '200ms' });
my $imagekit = $t->imagekit;

# A damaged tuple -------------------------------------------------------------------------------------------------------

my $id = 0;
for my $origin ('D', 'M')
{
	$t->node->restart;    # it is said once by each process
	$t->mark_log;
	$t->sql(qq{INSERT INTO imagekit.outbox SELECT now(), now(), NULL, '5', 'patches'::regclass, 10, 1, NULL, '$origin', '\\xff00'});
	$t->insert(++$id, "beside_$origin.jpg");
	$t->sql('DELETE FROM patches');
	eventually { $t->files } '', "$origin: other files do not wait for it";
	is($t->sql('SELECT url, server, relation, state, attempts, last_error FROM imagekit.pending'),
		q{||patches|failed|0|a tuple of imagekit.outbox is damaged, and is passed by: its images stay at ImageKit. }
		  . q{Look at it with SELECT * FROM imagekit.outbox WHERE ctid = '(0,1)', and delete it there},
		"$origin: it is to be seen, with the remedy");
	eventually { scalar $t->log_lines(qr/^WARNING:  a tuple of imagekit\.outbox is damaged, and is passed by/) } '1', "$origin: and said";
	is($t->messages(q{SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/x.jpg'); SELECT imagekit.cancel(relation => 'patches');
		SELECT * FROM imagekit.explain('https://ik.imagekit.io/acme/x.jpg')}) =~ /ERROR/, '', "$origin: operators' functions do not stumble over it");
	is($t->sql('DELETE FROM imagekit.outbox RETURNING origin'), $origin, "$origin: it is left where it is, until somebody deletes it");
	is($t->pending, 0, "$origin: and nothing is left");
	$t->sql('VACUUM imagekit.outbox');
}

# A moved row beside it goes its way, however many there are.
$t->sql(q{
	CREATE TABLE parts (id int, region text, images text[]) PARTITION BY LIST (region);
	CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
	CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
	SELECT imagekit.watch('parts', '{images}');
	INSERT INTO imagekit.outbox SELECT now(), now(), NULL, '5', 'parts'::regclass, 10, 1, NULL, 'M', '\xff00'});
$imagekit->seed('/moved.jpg');
$t->sql("INSERT INTO parts VALUES (1, 'a', '{$ENDPOINT/moved.jpg}')");
$t->sql(q{UPDATE parts SET region = 'b', images = '{}'});
eventually { $t->files } '', 'a moved row is reviewed beside a damaged tuple of the same table';
is($t->sql('SELECT count(*) FROM imagekit.outbox'), 1, 'which is left');
$t->sql('DELETE FROM imagekit.outbox');

# A table that cannot be searched ---------------------------------------------------------------------------------------

$t->watch_unsearchable;
$t->mark_log;
$imagekit->forget;
$t->insert(9, 'unproven1.jpg', 'unproven2.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->cause } qr/^2 files wait: cannot tell whether table public\.parted still uses it: .*\. Nothing is deleted until that table can be searched: call imagekit\.watch\(\) again with its sources as they are now, or imagekit\.unwatch\(\)$/,
	'status says why nothing is deleted, and what to do';
wait_for { $t->sql('SELECT bool_and(due_at > captured_at + interval \'1 second\') FROM imagekit.backlog') eq 't' } 'it was tried again and again';
eventually { $t->sql('SELECT DISTINCT state, attempts FROM imagekit.pending') } 'waiting|0', 'which counts as no attempt';
is(scalar $t->log_lines(qr/^WARNING:  imagekit_cleanup cannot search watched table public\.parted/), 1, 'the log says it once');
is(scalar $imagekit->requests(method => 'GET'), 1, 'and ImageKit is not asked again as long as it cannot be searched');
$imagekit->fault(kind => 'status', status => 503, json => { message => 'Not now.' }, method => 'DELETE', count => 3);
$t->sql('SET client_min_messages = error; DROP FOREIGN TABLE far');
eventually { $t->files . $t->pending } '0', 'once it can be searched they have all their attempts';
eventually { $t->cause } '', 'and status is content';

done_testing();
