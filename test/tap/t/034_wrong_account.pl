# A valid key of another account: nothing is settled, nothing deleted, until key and prefixes agree.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'imagekit_cleanup.worker_idle_timeout' => '60s' });
my $imagekit = $t->imagekit;
$imagekit->accounts(account => $_, keys => ["private_$_"]) for 'other', 'empty';

# What was asked: "probe" for any one file of the library, "look-up", "delete".
sub asked
{
	return join ' ', map { $_->{method} ne 'GET' ? 'delete' : exists $_->{query}{searchQuery} ? 'look-up' : 'probe' } $imagekit->journal;
}

sub probes { return scalar(() = asked() =~ /probe/g) }

sub use_key { $t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (SET private_key '$_[0]')"); return; }

sub stopped_warnings { return scalar $t->log_lines(qr/^WARNING:  imagekit_cleanup stops sending for server "acme"$/); }

sub others { return $t->files(account => 'other') }

# The right account -----------------------------------------------------------------------------------------------------

$imagekit->seed('/stays.jpg');
for my $id (1 .. 4)
{
	$t->insert($id, "right$id.jpg");
	$t->sql("DELETE FROM patches WHERE id = $id");
	eventually { $t->files } '/stays.jpg', "the right account, round $id: deleted";
}
is(asked(), join(' ', ('look-up delete') x 4), 'the first file that is found shows whose library it is: nothing else is asked');

$imagekit->seed('/hand1.jpg', '/hand2.jpg');
$imagekit->forget;
is($t->sql("SELECT imagekit.delete_file('$ENDPOINT/hand1.jpg'); SELECT imagekit.delete_file('$ENDPOINT/hand2.jpg')"), "t\nt",
	'delete_file(), twice in one session');
is(asked(), 'look-up delete look-up delete', 'asks no more either');

# The wrong one ---------------------------------------------------------------------------------------------------------

# The worst case: it has a file of the same name. And a name that it has not.
$imagekit->seed({ account => 'other', filePath => '/same.jpg' });
$t->mark_log;
$imagekit->forget;
use_key('private_other');
$t->insert(10, 'same.jpg', 'mine.jpg');
$t->sql('DELETE FROM patches WHERE id = 10');
eventually { $t->cause } qr{^the key opens a library whose URLs begin with https://ik\.imagekit\.io/other, and the account's prefixes are https://ik\.imagekit\.io/acme: .*user mapping.*add https://ik\.imagekit\.io/other to url_aliases .*next try at},
  'the key of another account stops the account; the cause names what to compare, and both remedies';
wait_for { $t->sql('SELECT failures FROM imagekit.account_state') >= 3 } 'it is tried again';
unlike(asked(), qr/delete/, 'nothing is deleted');
is(others(), '/same.jpg', 'the like-named file of the other account stays');
# One is counted while a try is under way, and given back.
eventually { $t->sql('SELECT count(*), sum(attempts) FROM imagekit.pending') } '2|0', 'nothing is lost, and no attempt counts';
unlike($t->history // '', qr/same|mine/, 'nothing is settled');
is(stopped_warnings(), 1, 'the log says it once');
unlike($t->log . $t->cause, qr/private_other/, 'without the key');

my $by_hand = $t->messages("SELECT imagekit.delete_file('$ENDPOINT/same.jpg')");
like($by_hand, qr/WARNING:  image was not deleted: .*\nDETAIL:  failed: the key opens a library/, 'delete_file() says it as well');
like($t->sql("SELECT outcome || ' ' || detail FROM imagekit.delete_files('{$ENDPOINT/mine.jpg,$ENDPOINT/same.jpg}')"),
	qr/^failed the key opens.*\nfailed the key opens/, 'so does delete_files()');
$t->sql('CALL imagekit.drain()');
is(others() . $t->pending, '/same.jpg2', 'and none of them deletes, nor does drain()');
unlike(asked(), qr/delete/, 'nor asks for it');

use_key($KEY);
eventually { $t->files . $t->pending } '/stays.jpg0', 'with the right key it resumes by itself';
is($t->log_lines(qr/^LOG:  imagekit_cleanup sends for server "acme" again$/), 1, 'and the log says so');
is(others(), '/same.jpg', 'the other account has lost nothing');

# A domain of one's own -------------------------------------------------------------------------------------------------

$t->sql(q{ALTER SERVER acme OPTIONS (SET url_endpoint 'https://img.acme.example')});
$imagekit->seed('/domain.jpg');
$t->sql(q{INSERT INTO patches VALUES (20, '{https://img.acme.example/domain.jpg}'); DELETE FROM patches});
eventually { $t->cause } qr{add https://ik\.imagekit\.io/acme to url_aliases}, 'only a custom domain: the cause says which prefix is missing';
is($t->files, '/domain.jpg /stays.jpg', 'nothing is deleted meanwhile');
$t->sql(q{ALTER SERVER acme OPTIONS (ADD url_aliases 'https://ik.imagekit.io/acme')});
eventually { $t->files . $t->pending } '/stays.jpg0', 'with it the file goes';

# A folder of the library in the prefix: /shop/x.jpg would be read as /x.jpg.
$t->sql(q{ALTER SERVER acme OPTIONS (SET url_endpoint 'https://ik.imagekit.io/acme/shop', DROP url_aliases)});
$imagekit->_post('remove', { filePaths => ['/stays.jpg'] });
$imagekit->seed('/shop/x.jpg', '/x.jpg');
$t->sql(q{INSERT INTO patches VALUES (21, '{https://ik.imagekit.io/acme/shop/x.jpg}'); DELETE FROM patches});
eventually { $t->cause } qr{add https://ik\.imagekit\.io/acme to url_aliases}, 'a folder in the prefix is found out';
$t->sql(q{ALTER SERVER acme OPTIONS (SET url_endpoint 'https://ik.imagekit.io/acme')});
eventually { $t->files . $t->pending } '/x.jpg0', 'and with the right prefix the right file goes';

# Answers that tell nothing ---------------------------------------------------------------------------------------------

# Long enough that no second request meets the answer: a look-up that is refused with it is for good.
$t->setting('imagekit_cleanup.retry_delay', '1s');
for my $fault ({ kind => 'html_404' }, { kind => 'truncated_json' }, { kind => 'status', status => 301, headers => { Location => 'https://example.com/' } },
	{ kind => 'status', status => 400, json => { message => 'no' } }, { kind => 'status', status => 200, json => [ { type => 'folder', name => 'x' } ] })
{
	my $name = join(' ', map { ref $fault->{$_} ? () : $fault->{$_} } sort keys %$fault);
	$t->sql(q{ALTER SERVER acme OPTIONS (SET url_endpoint 'https://ik.imagekit.io/acme')});
	use_key($KEY);
	$t->node->restart;    # a process that has not checked yet
	$imagekit->fault(%$fault, count => 0);
	$t->insert(30, 'told.jpg');
	$t->sql('DELETE FROM patches');
	eventually { $t->status } 'stopped', "checked with $name: stopped";
	is($t->sql(q{SELECT count(*) FROM imagekit.pending WHERE state <> 'failed'}), 1, "$name: the file waits");
	$imagekit->no_faults;
	eventually { $t->files . $t->pending } '/x.jpg0', "$name: resumes by itself";
}

$t->setting('imagekit_cleanup.retry_delay', '50ms');

# An empty library ------------------------------------------------------------------------------------------------------

$imagekit->_post('remove', { filePaths => ['/x.jpg'] });
$t->node->restart;
$imagekit->forget;
$t->sql("INSERT INTO patches VALUES (40, '{$ENDPOINT/none.jpg}'); DELETE FROM patches");
eventually { $t->history } qr/not_found none\.jpg/, 'an empty library tells nothing: what is not there is settled as today';
$t->insert(41, 'first.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->files . $t->pending } '0', 'the first file that is found there is checked itself, and goes';
is(probes(), 1, 'without another question');

$t->node->restart;
use_key('private_empty');
$t->sql("INSERT INTO patches VALUES (42, '{$ENDPOINT/none-either.jpg}'); DELETE FROM patches");
eventually { $t->history } qr/not_found none-either\.jpg/, 'an empty library of another account';
$imagekit->seed({ account => 'empty', filePath => '/appears.jpg' });
# With a fileId in the row, which is another one there: not a reason to settle it either.
$t->sql(qq{INSERT INTO patches VALUES (43, NULL, '{"imageUrl": {"url": "$ENDPOINT/appears.jpg", "fileId": "67c6d1a4432c47641600aa01"}}'); DELETE FROM patches});
eventually { $t->cause } qr{URLs begin with https://ik\.imagekit\.io/empty}, 'stops when a file that is found there is not ours';
is($t->files(account => 'empty') . $t->pending, '/appears.jpg1', 'which stays');

done_testing();
