# What waits for one account in great number, because it is paused or was stopped, costs the others nothing: neither a claim nor a
# look at what is due reads it.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
$imagekit->accounts(account => 'other', keys => ['private_other']);
my $OTHER = 'https://ik.imagekit.io/other';
$t->sql(qq{
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$OTHER', api_url '@{[ $imagekit->url ]}', write_rate '1', write_burst '1');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other')});

my $MANY = 100_000;
sub many { $t->sql(many_waiting('other', "$OTHER/many/", $MANY, q{now() - interval '1 hour'})); return; }
sub acme { return $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE server = 'acme'}); }
# Index entries and rows of the backlog that anybody has read.
sub read_of_backlog
{
	return $t->counted(q{SELECT sum(i.idx_tup_read + i.idx_tup_fetch) + max(t.seq_tup_read)
		FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid) WHERE t.relname = 'backlog' AND i.indexrelname = 'backlog_due'});
}

my $row = 0;
sub costs_little
{
	my ($name) = @_;
	my $before = read_of_backlog();
	for (1 .. 3)
	{
		$t->insert(++$row, "$row.jpg");
		$t->sql("DELETE FROM patches WHERE id = $row");
		wait_for { !grep { $_ eq "/$row.jpg" } $imagekit->files } 'the file of the account that goes on is deleted';
	}
	cmp_ok(read_of_backlog() - $before, '<', 5000, "$name: a deletion reads next to nothing of it");
	return;
}

$t->sql(q{SELECT imagekit.pause('other')});
many();
costs_little('another account is paused');
is($t->sql(q{SELECT next_due_at = (SELECT min(due_at) FROM imagekit.backlog) FROM imagekit.status WHERE server = 'other'}), 't', 'the status says since when they are due');
is($t->sql(q{SELECT next_due_at IS NULL FROM imagekit.status WHERE server = 'acme'}), 't', 'and nothing for the account without any');

# Both go on: the one is looked up and found missing at its pace, and the other has its part of what is claimed.
$t->sql(q{ALTER SERVER other OPTIONS (ADD allow_missing 'true', ADD read_rate '10', ADD read_burst '1'); SELECT imagekit.resume('other')});
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.history WHERE server = 'other'}) } 'the one with many is at work';
$imagekit->seed('/behind.jpg');
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/behind.jpg}')");
eventually { join ' ', $imagekit->files } '', 'an account with very many before it does not keep another waiting';
cmp_ok($t->sql(q{SELECT count(*) FROM imagekit.pending WHERE server = 'other'}), '>', 50_000, 'whose files were due long before');
done_testing();
