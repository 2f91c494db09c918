# Wrong keys and answers that are not ImageKit's stop the account, not the files: no attempts are burned, the status says
# why, the log says it once, and sending resumes by itself.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new(ready => 0);
my $imagekit = $t->imagekit;
my $key_file = PostgreSQL::Test::Utils::tempdir() . '/key';

sub stopped_warnings { return scalar $t->log_lines(qr/^WARNING:  imagekit_cleanup stops sending for server "acme"$/); }

# No key ----------------------------------------------------------------------------------------------------------------

$t->mark_log;
$t->prepare(key => undef);
$t->insert(1, 'keyless.jpg');
$t->sql('DELETE FROM patches WHERE id = 1');
is($t->status, 'stopped', 'without user mapping the account is stopped');
like($t->cause, qr/^there is no key: .*CREATE USER MAPPING/, 'and the status says the remedy');
stays { $t->files . $t->pending } '/keyless.jpg1', 'its files wait', 3;
is($t->sql('SELECT sum(attempts) FROM imagekit.pending'), '0', 'no attempt is burned');
is(stopped_warnings(), 1, 'the log says it once');
$t->sql("CREATE USER MAPPING FOR PUBLIC SERVER acme OPTIONS (private_key '$KEY')");
eventually { $t->files . $t->pending } '0', 'once there is a mapping they are sent, without a word to anybody';
isnt($t->status, 'stopped', 'the status is well again');

# 401, 403 --------------------------------------------------------------------------------------------------------------

for my $refusal ('unauthorized', 'forbidden', 'expired')
{
	$t->mark_log;
	$imagekit->fault(kind => $refusal, count => 0);
	$t->insert(2, map { "$refusal$_.jpg" } 1 .. 3);
	$t->sql('DELETE FROM patches WHERE id = 2');
	eventually { $t->log =~ /imagekit_cleanup sends|stops sending/ ? $t->cause // '' : '' } qr/HTTP 40[13].*next try at/,
	  "$refusal: the status says why nothing is sent";
	$imagekit->forget;
	wait_for { $imagekit->requests > 2 } 'it is tried again';
	is($t->pending, '3', "$refusal: the files wait");
	is($t->sql(q{SELECT count(*) FROM imagekit.pending WHERE state = 'failed' OR attempts > 1}), '0', "$refusal: no attempts are burned");
	is(stopped_warnings(), 1, "$refusal: the log says it once, though it is tried again and again");
	$imagekit->no_faults;
	eventually { $t->files . $t->pending } '0', "$refusal: sending resumes by itself when the key is accepted again";
	is($t->log_lines(qr/^LOG:  imagekit_cleanup sends for server "acme" again$/), 1, "$refusal: and the log says so");
}

# A new key takes the place of a revoked one.
$imagekit->accounts(account => 'acme', revoke_keys => [$KEY], add_keys => ['private_new']);
$t->insert(3, 'rotated.jpg');
$t->sql('DELETE FROM patches WHERE id = 3');
eventually { $t->status } 'stopped', 'a revoked key stops the account';
$t->sql(q{ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key 'private_new')});
eventually { $t->files . $t->pending } '0', 'the new key is used as soon as it is there';

# Changed in the middle of a long pause, it is tried at the next look instead of at the end.
$t->setting('imagekit_cleanup.retry_delay_max', "'1h'");
$t->setting('imagekit_cleanup.retry_delay', "'10min'");
wait_for { $t->sql('SHOW imagekit_cleanup.retry_delay') eq '10min' } 'the reload';
my %mended = (
	'an option' => q{ALTER SERVER acme OPTIONS (ADD url_aliases 'https://img.example.com')},
	'the key' => q{ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key 'private_newer')});
$imagekit->accounts(account => 'acme', add_keys => ['private_newer']);
for my $what (sort keys %mended)
{
	$imagekit->fault(kind => 'forbidden', count => 0);
	$t->insert(3, 'paused.jpg');
	$t->sql('DELETE FROM patches WHERE id = 3');
	eventually { $t->status } 'stopped', 'stopped, and for long';
	$imagekit->no_faults;
	stays { $t->files } '/paused.jpg', 'nothing is tried before its time', 2.5;
	$t->sql($mended{$what});
	eventually { $t->files . $t->pending } '0', "$what is changed: it is tried at once";
}
$t->setting('imagekit_cleanup.retry_delay', "'50ms'");
$t->setting('imagekit_cleanup.retry_delay_max', "'1s'");
wait_for { $t->sql('SHOW imagekit_cleanup.retry_delay') eq '50ms' } 'the reload';

# Another account goes on -----------------------------------------------------------------------------------------------

my $other = ImageKit::Emulator->start(other => 'private_other');
$t->sql(qq{
	CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other', api_url '@{[ $other->url ]}');
	CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (private_key 'private_other')});
$imagekit->fault(kind => 'forbidden', count => 0);
$t->insert(4, 'mine.jpg');
$other->seed('/theirs.jpg');
$t->sql(qq{UPDATE patches SET images = images || '{https://ik.imagekit.io/other/theirs.jpg}'; DELETE FROM patches});
eventually { join ' ', $other->files } '', 'an account that is stopped does not stop the other one';
is($t->sql('SELECT url FROM imagekit.pending'), "$ENDPOINT/mine.jpg", 'whose file waits');
$imagekit->no_faults;
eventually { $t->pending } '0', 'and goes, too';

# Not ImageKit at all ---------------------------------------------------------------------------------------------------

$t->sql("ALTER SERVER acme OPTIONS (SET api_url '" . $imagekit->url . "/some/proxy')");
$t->mark_log;
$t->insert(5, 'misled.jpg');
$t->sql('DELETE FROM patches WHERE id = 5');
eventually { $t->cause } qr/HTTP 404/, 'a foreign 404 page (wrong api_url) stops the account';
stays { $t->files . $t->pending } '/misled.jpg1', 'and is not taken for "not found"', 2;
is(stopped_warnings(), 1, 'the log says it once');
$t->sql("ALTER SERVER acme OPTIONS (SET api_url '" . $imagekit->url . "')");
eventually { $t->files . $t->pending } '0', 'with the right api_url it is sent';

# A key file ------------------------------------------------------------------------------------------------------------

append_to_file($key_file, "private_new\n");
chmod 0644, $key_file;
$t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (DROP private_key, ADD private_key_file '$key_file')");
$t->insert(6, 'file.jpg');
$t->sql('DELETE FROM patches WHERE id = 6');
like($t->cause, qr/may be read by others; run chmod 600 on it/, 'a key file that others may read is refused');
stays { $t->files } '/file.jpg', 'and nothing is sent';
chmod 0600, $key_file;
eventually { $t->files } '', 'it is read again, and used once it is private';

done_testing();
