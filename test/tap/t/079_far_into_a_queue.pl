# A claim from a long queue does not walk past what went before it, though PostgreSQL keeps that for as long as an old transaction may
# see it; and what comes in before the place where claims begin is not forgotten.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true')});

# That many wait, all of them due; ImageKit does not have them.
sub many { my ($name, $many) = @_; $t->sql(many_waiting('acme', "$ENDPOINT/$name/", $many, q{now() - interval '1 hour'})); return; }
# Entries of the index that were found, those of deleted rows among them.
sub walked { return $t->counted(q{SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'backlog_due'}); }

# Far in --------------------------------------------------------------------------------------------------------------------

my $MANY = 60_000;
my $old = $t->old_snapshot;
my $before = walked();
many('many', $MANY);
$t->sql("SELECT imagekit.enqueue('{$ENDPOINT/last.jpg}')");
eventually { $t->sql('SELECT count(*) FROM imagekit.pending') } '0', 'a long queue becomes empty', 100;
my $walked = walked() - $before;
# At each claim all of those before it would be 30 times the queue, three times over. At the end it is walked some times.
cmp_ok($walked, '<', 25 * $MANY, 'claims do not walk past what went before them');
note "$walked entries, of $MANY files";
$old->query_safe('COMMIT');
$old->quit;

# Before the place ----------------------------------------------------------------------------------------------------------

# So slow that the queue lasts longer than the test.
$t->sql(q{ALTER SERVER acme OPTIONS (SET read_rate '20', SET read_burst '1', ADD search_size '10')});
$imagekit->seed('/late1.jpg', '/locked1.jpg');
$t->sql('SELECT imagekit.disable()');
many('slow', $MANY);
$t->sql(many_waiting('acme', "$ENDPOINT/locked", 1, q{now() - interval '2 hours'}));
my $holder = $node->background_psql('postgres');
$holder->query_safe(qq{BEGIN; SELECT id FROM imagekit.backlog WHERE url = '$ENDPOINT/locked1.jpg' FOR UPDATE});
$t->sql('SELECT imagekit.enable()');
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.history WHERE url ~ '/slow/'}) > 1000 } 'the queue is worked at';
is(join(' ', $imagekit->files), '/late1.jpg /locked1.jpg', 'what another session has locked is passed over');
$t->sql(many_waiting('acme', "$ENDPOINT/late", 1, q{now() - interval '2 hours'}));
$holder->query_safe('COMMIT');
$holder->quit;
eventually { join ' ', $imagekit->files } '', 'it is claimed when it is let go, and so is what came in before the place', 60;
cmp_ok($t->sql('SELECT count(*) FROM imagekit.pending'), '>', $MANY / 2, 'long before the queue is at its end');

# Of servers that are no more -----------------------------------------------------------------------------------------------

# The one with the lower number has nothing that is due, and an account has more than there is room for.
sub of_server
{
	my ($number, $name, $due) = @_;
	$t->sql(qq{INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at)
		VALUES ('https://nobody.example/$name.jpg', $number, pg_current_xact_id(), 0, 10, 'E', now(), now() + $due)});
	return;
}
sub parked { return $t->sql(q{SELECT string_agg(substring(url from '[a-z_]+(?=.jpg)'), ' ' ORDER BY url) FROM imagekit.pending WHERE url ~ 'nobody' AND last_error ~ '^no account'}); }
of_server(4294967290, 'high_later', q{interval '1 day'});
of_server(4294967291, 'high_due', q{interval '-1 day'});
of_server(10, 'low_later', q{interval '1 day'});
of_server(11, 'low_due', q{interval '-1 day'});
eventually { parked() } 'high_due low_due', 'what was queued for a server that is gone is looked at when it is due, whatever waits for others';
done_testing();
