# What ImageKit answers when something is wrong, and what becomes of the file: nothing is lost, nothing is deleted for a
# reason that is none, and the operator can read why.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
my $id = 0;

# A row with one image; deletes it.
sub delete_one
{
	my ($name) = @_;
	$t->insert(++$id, "$name.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	return;
}

sub requests { return scalar grep { /^(GET|DELETE)/ } $imagekit->requests }

# Transient ---------------------------------------------------------------------------------------------------------------

for my $kind ('text_500', 'html_502', 'reset_before', 'bulk_job')
{
	$imagekit->fault(kind => $kind, method => 'DELETE', count => 2);
	delete_one($kind);
	eventually { $t->files } '', "$kind, twice: tried again until it works";
}
$imagekit->fault(kind => 'reset_after', method => 'DELETE', count => 1);
delete_one('lost');
eventually { $t->history } qr/not_found lost\.jpg/, 'an answer that was lost after the delete: found to be gone';

$imagekit->fault(kind => 'text_500', count => 0);
delete_one('waits');
eventually { $t->sql('SELECT state, attempts > 2, last_error FROM imagekit.pending') } qr/^retrying\|t\|HTTP 500/,
  'pending tells state, attempts and what ImageKit said';
$imagekit->no_faults;
eventually { $t->files } '', 'and it is deleted when ImageKit is well again';

# 429 ---------------------------------------------------------------------------------------------------------------------

$imagekit->forget;
$imagekit->fault(kind => 'rate_limited', method => 'DELETE', reset => 1500, count => 1);
delete_one('throttled');
eventually { $t->files } '', '429: deleted in the end';
my @deletes = $imagekit->journal(method => 'DELETE');
cmp_ok($deletes[1]{ms} - $deletes[0]{ms}, '>=', 1500, 'not before X-RateLimit-Reset has passed');
is($t->sql("SELECT count(*) FROM imagekit.history WHERE url LIKE '%throttled%'"), 1, 'and settled once');

# Credentials -------------------------------------------------------------------------------------------------------------

for my $kind ('unauthorized', 'forbidden', 'expired', 'disabled')
{
	$t->mark_log;
	$imagekit->fault(kind => $kind, count => 0);
	delete_one($kind);
	eventually { $t->cause } qr/^HTTP 40[13]: /, "$kind: the account stops, and status says why";
	wait_for { $t->sql('SELECT failures FROM imagekit.account_state') >= 3 } 'it was tried again';
	# One is counted while a try is under way, and given back.
	eventually { $t->sql('SELECT attempts FROM imagekit.pending') } 0, "$kind: no attempt is burned";
	is(scalar(my @said = $t->log_lines(qr/stops sending/)), 1, "$kind: said once, not at every try");
	$imagekit->no_faults;
	eventually { $t->files } '', "$kind: resumes by itself";
}

# Answers that are not ImageKit's -----------------------------------------------------------------------------------------

for my $kind ('html_404', 'truncated_json', 'wrong_content_type')
{
	next if $kind eq 'wrong_content_type';    # JSON all the same: nothing to object to
	$imagekit->fault(kind => $kind, method => 'GET', count => 0);
	delete_one($kind);
	eventually { $t->status } 'stopped', "$kind: a foreign answer stops the account instead of emptying the queue";
	is($t->pending, 1, "$kind: nothing is lost");
	$imagekit->no_faults;
	eventually { $t->files } '', "$kind: resumes by itself";
}

# A redirect is not followed, and the key stays here.
my $other = ImageKit::Emulator->start;
$imagekit->fault(kind => 'status', status => 302, headers => { Location => $other->url . '/v1/files' }, count => 0);
delete_one('redirect');
eventually { $t->status } 'stopped', 'a redirect stops the account';
is(scalar(my @asked = $other->requests), 0, 'and is not followed');
$imagekit->no_faults;
eventually { $t->files } '', 'resumes by itself';

# Nobody there ------------------------------------------------------------------------------------------------------------

$t->sql('ALTER SERVER acme OPTIONS (SET api_url ' . "'http://127.0.0.1:1')");
delete_one('nobody');
eventually { $t->sql('SELECT state, last_error FROM imagekit.pending') } qr/^retrying\|.*127\.0\.0\.1/, 'a refused connection is tried again';
$t->sql('ALTER SERVER acme OPTIONS (SET api_url ' . "'" . $imagekit->url . "')");
eventually { $t->files } '', 'and the new address is used without a restart';

# No key ------------------------------------------------------------------------------------------------------------------

$t->sql('DROP USER MAPPING FOR PUBLIC SERVER acme');
delete_one('keyless');
eventually { $t->cause } qr/^there is no key/, 'without a user mapping, status says what to do';
is($t->pending, 1, 'and the file waits');
$t->sql("CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '$KEY')");
eventually { $t->files } '', 'created later, it is used';

# Hostile URLs ------------------------------------------------------------------------------------------------------------

my @hostile = ('a%2Fb.jpg', '../x.jpg', '%zz.jpg', 'pets/', 'a b.jpg', 'tr:l-image,i-/x/y.jpg', 'a//b.jpg', '%01.jpg', '%ff.jpg',
	'x' x 60_000 . '%');
my $list = join(',', map { "'$ENDPOINT/$_'" } @hostile);
my $before = requests();
is($t->messages("INSERT INTO patches VALUES (900, ARRAY[$list, E'$ENDPOINT/a\\nb.jpg']); DELETE FROM patches WHERE id = 900"), '',
	'hostile URLs never fail the DELETE');
eventually { $t->sql("SELECT count(*) FROM imagekit.pending WHERE state = 'failed' AND last_error ~ 'cannot be read with certainty: .'") }
  @hostile + 1, 'each is parked where pending shows it, with the reason';
is(requests(), $before, 'and nothing is asked for any of them');

my $foreign = 'https://ik.imagekit.io.evil.example/acme/a.jpg,https://ik.imagekit.io/other/a.jpg,https://example.com/a.jpg';
$t->sql("INSERT INTO patches VALUES (901, '{$foreign}'); DELETE FROM patches WHERE id = 901");
is($t->sql("SELECT count(*) FROM imagekit.pending WHERE state <> 'failed'"), 0, 'URLs of other hosts and accounts are not queued');

done_testing();
