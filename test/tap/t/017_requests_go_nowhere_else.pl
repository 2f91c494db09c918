# The key goes to the account's api_url and to nobody else: not where a redirect points, not where a URL in a row points.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

# Accepts the same key, so that only the address keeps it out.
my $thief = ImageKit::Emulator->start(acme => $KEY);
$thief->seed('/cat.jpg');

# Redirects -------------------------------------------------------------------------------------------------------------

my $id = 0;
for my $method ('GET', 'DELETE')
{
	for my $status (301, 302, 307, 308)
	{
		$imagekit->fault(kind => 'status', method => $method, status => $status, headers => { Location => $thief->url . '/v1/files' },
			count => 0);
		$t->insert(++$id, 'cat.jpg');
		$t->sql("DELETE FROM patches WHERE id = $id");
		eventually { $t->cause } qr/HTTP $status/, "$method answered with $status: the account stops, and says why";
		is($t->pending, '1', "$method answered with $status: the file waits");
		$imagekit->no_faults;
		eventually { $t->files . $t->pending } '0', "$method answered with $status: deleted where it belongs, later";
	}
}

# URLs in rows ----------------------------------------------------------------------------------------------------------

my $url = $thief->url;
my ($authority) = $url =~ m{//(.*)};
my @foreign = (
	"$url/acme/cat.jpg", 'https://example.com/acme/cat.jpg', 'https://ik.imagekit.io/acmecorp/cat.jpg',
	'https://ik.imagekit.io/other/cat.jpg', 'https://ik.imagekit.io.example.com/acme/cat.jpg',
	"https://ik.imagekit.io\@$authority/acme/cat.jpg", 'https://sub.ik.imagekit.io/acme/cat.jpg',
	'https://ik.imagekit.io:8443/acme/cat.jpg', 'ftp://ik.imagekit.io/acme/cat.jpg', 'https://ik.imagekit.io/', 'no URL');
my $list = join(', ', map { "'$_'" } @foreign);
$imagekit->seed('/cat.jpg');
$imagekit->forget;
$t->sql("INSERT INTO patches VALUES (100, ARRAY[$list]); DELETE FROM patches WHERE id = 100");
is($t->sql("SELECT (SELECT count(*) FROM imagekit.outbox), (SELECT count(*) FROM imagekit.pending)"), '0|0',
	'URLs of other hosts, ports and accounts queue nothing');
is($t->sql("SET client_min_messages = error; SELECT imagekit.enqueue(ARRAY[$list])"), '0', 'not by hand either');
is( $t->sql("SET client_min_messages = error; SELECT string_agg(DISTINCT outcome, ' ') FROM imagekit.delete_files(ARRAY[$list])"),
	'failed', 'delete_files() refuses them');
is(join(' ', $imagekit->requests), '', 'and asks nobody for any of them');
is($t->files, '/cat.jpg', 'a like-named file stays');

is(join(' ', $thief->requests), '', 'the other host was not asked once');
is(join(' ', $thief->files), '/cat.jpg', 'and keeps its file');

done_testing();
