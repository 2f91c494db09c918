# From the proof that nobody uses a file to the delete on the wire nothing comes between that could take its time: no
# settlement, no claim. Here the settlements have to wait for a lock, and rows come to use the files meanwhile.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
my $files = 4000;
$t->sql(q{ALTER SERVER acme OPTIONS (ADD hold_above 'off', ADD hold_fraction 'off', ADD bulk_size '10')});
$imagekit->switch(latency_ms => 20);

my ($late, $after, $used_again) = (0, 0, 0);
for my $try (1, 2)
{
	my $urls = "ARRAY['$ENDPOINT/t$try/f' || lpad(i::text, 7, '0') || '.jpg'] FROM generate_series(0, $files - 1) i";
	$imagekit->_post('seed_many', { count => $files, folders => 0, prefix => "/t$try" });
	$t->sql("INSERT INTO patches SELECT $try * 100000 + i, $urls");
	$imagekit->forget;
	$t->sql('DELETE FROM patches');
	wait_for { $imagekit->count(prefix => "/t$try") < $files - 100 } 'deletes flow';
	my $lock = $t->node->background_psql('postgres');
	$lock->query_safe('BEGIN; LOCK TABLE imagekit.history IN SHARE MODE');  # like CREATE INDEX
	wait_for { $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker' AND wait_event_type = 'Lock'}) } 'a settlement waits';
	# What was on the wire has arrived when nothing more does.
	my $there = -1;
	wait_for { my $before = $there; $there = $imagekit->count(prefix => "/t$try"); $there == $before } 'the wire is empty';
	$t->sql("INSERT INTO modules SELECT $try * 100000 + i, $urls");
	my $committed = time;
	$lock->query_safe('COMMIT');
	$lock->quit;
	wait_for { $t->pending == 0 } 'all is settled', 60;
	$late += grep { @{ $_->{removed} // [] } && $_->{wall_us} / 1e6 > $committed } $imagekit->journal;
	$after += $there - $imagekit->count(prefix => "/t$try");
	$used_again += $there;
}
cmp_ok($used_again, '>', 0, "$used_again files were there when rows came to use them");
is($late, 0, 'no delete for one of them arrived afterwards');
is($after, 0, 'and they are there still');
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome = 'kept'}), $used_again, 'kept, as the history says');

done_testing();
