# max_deletes_per_hour: what is above it waits for its hour, through restarts, and is not lost.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.log_deletions' => 'off' });
my $imagekit = $t->imagekit;
$t->sql(q{ALTER SERVER acme OPTIONS (ADD max_deletes_per_hour '4')});

sub left { return scalar $imagekit->files; }
sub later { return $t->sql(q{UPDATE imagekit.history SET settled_at = settled_at - interval '61 minutes'}); }

$t->mark_log;
$t->insert(1, map { "a$_.jpg" } 1 .. 10);
$t->sql('DELETE FROM patches WHERE id = 1');
eventually { left() } '6', 'as many as are allowed are deleted';
eventually { $t->cause } qr/^max_deletes_per_hour \(4\) is reached \(since .*, next try at .*\)$/, 'the status says why no more';
cmp_ok($t->sql(q{SELECT count(*) FROM imagekit.pending WHERE last_error LIKE 'waits: max_deletes%'}), '>', 0, 'so do the files');
unlike($t->sql(q{BEGIN; UPDATE imagekit.backlog SET captured_at = captured_at - interval '1 hour'; SELECT cause FROM imagekit.status; ROLLBACK}),
	qr/for transactions/, 'and no transaction is blamed for it, however long it takes');
is($t->status, 'stopped', 'and that it has stopped');
is($t->sql(q{SELECT count(*), sum(attempts) FROM imagekit.pending WHERE state = 'waiting'}), '6|0', 'the others wait, no attempt is counted');
is($t->sql(q{SELECT max(a.paused_until - h.at) FROM imagekit.account_state a, (SELECT min(settled_at) AS at FROM imagekit.history) h}), '01:00:00',
	'until an hour after the first of them');
stays { left() } '6', 'no more are deleted', 2;
$t->node->restart;
stays { left() } '6', 'nor after a restart', 3;
is($t->sql(q{SELECT imagekit.delete_file('https://ik.imagekit.io/acme/a9.jpg')}), 't', 'by hand there is no limit');
is(left(), 5, 'and the file goes');

later();
$t->sql(q{UPDATE imagekit.account_state SET paused_until = now()});
eventually { left() } '1', 'an hour later as many again are deleted';
$t->sql(q{ALTER SERVER acme OPTIONS (SET max_deletes_per_hour '1000')});
eventually { left() } '0', 'a higher limit holds at once';
eventually { $t->pending } '0', 'and nothing is left waiting';
isnt($t->status, 'stopped', 'nor stopped');
is(scalar $t->log_lines(qr/^LOG:  imagekit_cleanup waits with the deletions of server "acme"/), 2, 'the log says it once each time');
is(scalar $t->log_lines(qr/^WARNING/), 0, 'and warns of nothing');

done_testing();
