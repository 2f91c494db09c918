# A page in headless Chromium, without a driver: it is loaded from a file, and what it came to be is read from its DOM.
#
#   my $browser = ImageKit::Browser->new;                       # undef where there is none
#   my @found = $browser->measure($html, [ 1200, 'light' ], [ 360, 'dark' ]);
#
# measure() adds a script of its own to a copy of the page, whose policy would forbid it and is taken out for that. The copy is shown in
# frames, as no window is narrower than 500 pixels.

package ImageKit::Browser;

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;

my $number = 0;

sub new
{
	my ($class) = @_;
	return unless $ENV{CHROMIUM};
	return bless { dir => PostgreSQL::Test::Utils::tempdir() }, $class;
}

# What a person sees: how wide it is, its colours, the least contrast of any text with what is behind it.
my $measure = <<'JS';
addEventListener('load', () => {
	const numbers = colour => (colour.match(/[\d.]+/g) || []).map(Number);
	const light = colour => {
		const [r, g, b] = numbers(colour).slice(0, 3).map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = node => {
		for (; node; node = node.parentElement) {
			const colour = getComputedStyle(node).backgroundColor, alpha = numbers(colour)[3];
			if (alpha === undefined || alpha > 0) return colour;
		}
		return 'rgb(255, 255, 255)';
	};
	let least = 99, where = '', texts = 0;
	for (const node of document.body.querySelectorAll('*')) {
		const text = [...node.childNodes].filter(n => n.nodeType === 3 && n.data.trim()).map(n => n.data).join('');
		if (!text || !node.getClientRects().length || ['title', 'desc'].includes(node.localName)) continue;
		const style = getComputedStyle(node), back = behind(node);
		const [a, b] = [light(node.namespaceURI.endsWith('svg') ? style.fill : style.color), light(back)].sort((x, y) => y - x);
		const contrast = (a + 0.05) / (b + 0.05);
		texts++;
		if (contrast < least) { least = contrast; where = text.slice(0, 40); }
	}
	// Of tables, the narrowest first cell of several words; of lists of findings, the tallest item.
	const least_of = (nodes, size) => nodes.map(n => [size(n), n.textContent.slice(0, 40)]).sort((a, b) => a[0] - b[0])[0] || [0, ''];
	const [narrowest, narrow] = least_of([...document.querySelectorAll('td:first-child')].filter(n => n.getClientRects().length && n.textContent.length > 20), n => n.getBoundingClientRect().width);
	const [negative, tall] = least_of([...document.querySelectorAll('ol.finds>li,ol.files>li')], n => -n.getBoundingClientRect().height);
	const images = [...document.images].filter(i => i.complete);
	parent.postMessage({ name, found: {
		inner: innerWidth, scroll: document.documentElement.scrollWidth, background: getComputedStyle(document.body).backgroundColor,
		contrast: least.toFixed(2), where, narrowest, narrow, tallest: -negative, tall, texts, shown: images.filter(i => i.naturalWidth > 0).length, broken: images.filter(i => !i.naturalWidth).length,
		overlapping: [...document.querySelectorAll('.plot')].filter(plot => {
			const labels = [...plot.children].filter(n => n.localName === 'text' && n.getAttribute('y') === '219').map(n => n.getBoundingClientRect());
			return labels.some((label, i) => i && label.left < labels[i - 1].right);
		}).length } }, '*');
});
JS

# One hash for each of [width, colours].
sub measure
{
	my ($self, $html, @frames) = @_;
	$html =~ s/<meta http-equiv="Content-Security-Policy"[^>]*>// or die 'the page has no policy';
	$html =~ s{</body>}{<script>$measure</script></body>};
	my $page = "$self->{dir}/measured" . ++$number . '.html';
	append_to_file($page, $html);
	my $frames = join('', map { qq{<iframe name="frame$_" style="width:$frames[$_][0]px;height:9000px;border:0;color-scheme:$frames[$_][1]" src="file://$page"></iframe>} } 0 .. $#frames);
	my $dom = $self->dom(qq{<!DOCTYPE html><html><head><title>frames</title></head><body><script>
		addEventListener('message', e => { const node = document.createElement('output'); node.id = e.data.name; Object.assign(node.dataset, e.data.found); document.body.append(node); });
		</script>$frames</body></html>});
	return map { my ($tag) = $dom =~ /<output id="frame$_"([^>]*)>/; +{ ($tag // '') =~ /data-(\w+)="([^"]*)"/g } } 0 .. $#frames;
}

# The page's DOM, when all is loaded.
sub dom { my ($self, $html, %options) = @_; return $self->_run($html, [ '--dump-dom' ], %options); }

# A picture of it, as the bytes of a PNG.
sub picture
{
	my ($self, $html, %options) = @_;
	my $file = "$self->{dir}/picture" . ++$number . '.png';
	$self->_run($html, ["--screenshot=$file"], %options);
	return slurp_file($file);
}

sub _run
{
	my ($self, $html, $what, %options) = @_;
	my $file = "$self->{dir}/page" . ++$number;
	append_to_file("$file.html", $html);
	my ($output, $errors) = ('', '');
	my @command = ($ENV{CHROMIUM}, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', '--no-first-run',
		'--disable-background-networking', '--disable-component-update', '--disable-sync', "--user-data-dir=$file.profile",
		'--blink-settings=preferredColorScheme=' . ($options{dark} ? 0 : 1), '--virtual-time-budget=2000',
		'--window-size=' . ($options{width} // 1200) . ',' . ($options{height} // 2000), @$what, "file://$file.html");
	IPC::Run::run(\@command, '<', \undef, '>', \$output, '2>', \$errors, IPC::Run::timeout(120)) or die "@command: $?\n$errors";
	return $output;
}

1;
