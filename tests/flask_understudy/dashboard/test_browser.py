"""The dashboard in a real browser: what scripts add, and that nothing is loaded, leaked or run that should not be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from werkzeug.serving import make_server

from flask_understudy import current_job
from flask_understudy.clock.bulks import bulks
from flask_understudy.contrib.webhooks.sending import Webhooks
from flask_understudy.dashboard.pages import _entries
from tests.flask_understudy.conftest import MakeSite
from tests.flask_understudy.dashboard.conftest import PREFIX
from tests.flask_understudy.dashboard.test_directions import TURNED, WORD
from tests.flask_understudy.dashboard.test_pages import HOSTILE
from tests.flask_understudy.rest.conftest import EVERY_SCOPE, Api, open_api

pytestmark = [pytest.mark.timeout(180), pytest.mark.xdist_group("browser")]

TOKEN = f"acme/olga/{EVERY_SCOPE} tenants"


@dataclass
class Shown:
    """A page in a browser, and what it complained of.

    Attributes:
        page: The page.
        url: Of the dashboard.
        complaints: Errors in its console, and addresses of other hosts that it asked.
    """

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog {dialog.message}"))
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.url).netloc:
            self.complaints.append(f"asked {request.url}")

    def go(self, path: str = "") -> Page:
        self.page.goto(self.url + path)
        return self.page


@pytest.fixture
def api(make_site: MakeSite, sqlite_ledger: str) -> Api:
    return open_api(make_site(sqlite_ledger))


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    """Where the site is served."""
    server = make_server("127.0.0.1", 0, api.site.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}{PREFIX}"
    server.shutdown()
    thread.join()


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Callable[..., Shown]]:
    """Open a page as an operator who signed in: `open_page(color_scheme="dark")`."""
    contexts: list[BrowserContext] = []

    def open_one(**options: Any) -> Shown:
        context = browser.new_context(**options)
        contexts.append(context)
        shown = Shown(context.new_page(), url)
        page = shown.go()
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        shown.watch()
        return shown

    yield open_one
    for context in contexts:
        context.close()


def every_page(api: Api) -> list[str]:
    """The addresses of all pages that are worth a look, below the dashboard's."""
    job = api.fail(HOSTILE, tags=["<b>tag</b>"])
    api.send("ada@example.com")
    jobs, work = api.site.jobs, api.actors["work"]
    with api.site.app.app_context():
        jobs.schedules.register("digest", work, "every 1 hour", {"to": "ada@example.com"}, tenant="acme")
        hooks = Webhooks(jobs)
        endpoint = hooks.endpoints.create("acme", f"https://example.com/{'long' * 60}", ["*"], description=HOSTILE)[
            0
        ].id
        delivery = hooks.publish("incident.created", {"title": HOSTILE}, "acme")[0].id
        api.site.db.session.commit()
        batch = jobs.batch([work.message_with_options(args=(str(n),), tenant="acme") for n in range(2)], name="mails")
    with api.site.app.test_request_context():
        listed = [api.site.app.url_for(entry.endpoint).removeprefix(PREFIX) for entry in _entries]
    one = [f"/jobs/{job}", "/queues/reports", "/schedules/digest", f"/batches/{batch.id}", "/types/work"]
    one += ["/webhooks/new", f"/webhooks/{endpoint}", f"/webhooks/{endpoint}/edit", f"/deliveries/{delivery}"]
    return [*listed, *one, "/jobs?q=type:broken", "/scheduled"]


@pytest.mark.requirement("L01", "L06", "V14")
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_is_clean_and_can_be_used_by_everybody(
    api: Api, open_page: Callable[..., Shown], colours: str
) -> None:
    shown = open_page(color_scheme=colours)
    for path in every_page(api):
        page = shown.go(path)
        expect(page.locator("main h1").first).to_be_visible()
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
    assert shown.complaints == []


def test_every_page_fits_a_telephone(api: Api, open_page: Callable[..., Shown]) -> None:
    shown = open_page(viewport={"width": 360, "height": 740})
    for path in every_page(api):
        page = shown.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


@pytest.mark.requirement("O02", "L06")
@pytest.mark.parametrize("scripts", [True, False])
def test_a_job_is_tried_again_by_a_click(api: Api, open_page: Callable[..., Shown], scripts: bool) -> None:
    job = api.fail("boom")
    shown = open_page(java_script_enabled=scripts)
    page = shown.go(f"/jobs/{job}")

    page.get_by_role("button", name="Retry").click()

    expect(page.get_by_role("status")).to_have_text("It is tried again.")
    assert api.site.job(job).state == "waiting"
    assert shown.complaints == []


def test_those_selected_are_deleted_after_a_question(api: Api, open_page: Callable[..., Shown]) -> None:
    kept, gone = api.send("kept"), api.send("gone")
    page = open_page().go("/jobs")
    page.get_by_label(f"Select work {gone}").check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 1 job?")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("h1")).to_contain_text("Delete: running")
    bulks(api.site.state)
    expect(page.locator("h1")).to_contain_text("Delete: completed", timeout=20_000)
    assert api.site.jobs.get(gone) is None
    assert api.site.jobs.get(kept) is not None


@pytest.mark.requirement("L02")
def test_a_page_keeps_itself_up_to_date(api: Api, open_page: Callable[..., Shown]) -> None:
    page = open_page().go("/jobs")
    expect(page.locator("[data-row]")).to_have_count(0)
    job = api.send("ada@example.com")
    expect(page.locator("[data-row]")).to_have_count(1, timeout=20_000)

    page.get_by_label(f"Select work {job}").check()
    api.send("bea@example.com")
    expect(page.locator("[data-row]")).to_have_count(2, timeout=20_000)
    expect(page.get_by_label(f"Select work {job}")).to_be_checked()  # what was begun is not lost


def test_a_page_that_is_old_says_so(open_page: Callable[..., Shown]) -> None:
    shown = open_page()
    page = shown.go("/jobs")
    page.get_by_label("Refresh").select_option("1")
    stale = page.get_by_role("alert")

    page.context.set_offline(True)
    expect(stale).to_contain_text("The server does not answer. This page shows how it was at")
    page.context.set_offline(False)
    expect(stale).to_be_hidden()

    page.context.clear_cookies()
    expect(stale).to_contain_text("You are signed out.")
    stale.get_by_role("link", name="Load it again").click()
    expect(page.get_by_label("Token")).to_be_visible()


@pytest.mark.parametrize("state", ["delayed", "failed"])
def test_a_job_that_was_deleted_meanwhile_is_said_to_be_gone(
    api: Api, open_page: Callable[..., Shown], state: str
) -> None:
    job = api.fail("boom") if state == "failed" else api.send("ada@example.com", delay=3_600_000)
    page = open_page().go(f"/jobs/{job}")
    expect(page.get_by_role("button", name="Delete")).to_be_visible()

    api.delete(f"/{job}")

    expect(page.get_by_role("alert")).to_contain_text("This is gone", timeout=20_000)
    expect(page.locator("main button")).to_have_count(0)
    expect(page.locator("h1")).to_have_text("Not Found")


def test_a_long_log_shows_its_end_and_is_scrolled_by_the_keyboard(api: Api, open_page: Callable[..., Shown]) -> None:
    @api.site.jobs.actor(actor_name="wordy", max_retries=0)
    def wordy() -> None:
        for line in range(1_000):
            current_job.log(f"line {line}.")

    id = wordy.send_with_options(tenant="acme").message_id
    api.site.worker.run(id)
    shown = open_page()
    page = shown.go(f"/jobs/{id}")
    box = page.get_by_role("region", name="Log 1,000 lines")

    assert box.bounding_box()["height"] < 400  # type: ignore[index]
    box.scroll_into_view_if_needed()
    expect(box.get_by_text("line 999.")).to_be_in_viewport()
    inside = "(line, box) => line.getBoundingClientRect().bottom <= box.getBoundingClientRect().bottom + 1"
    assert box.get_by_text("line 999.").evaluate(inside, box.element_handle())
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    box.focus()
    page.keyboard.press("Home")
    expect(box.get_by_text("line 0.")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollHeight") < 4_000


def test_the_keyboard_searches_moves_and_opens(api: Api, open_page: Callable[..., Shown]) -> None:
    first, second = api.send("ada@example.com"), api.send("bea@example.com")
    api.site.change(first, created_at=api.site.moment(-60))  # not within the same millisecond
    page = open_page().go("/jobs")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/jobs/{first}")  # the latest stands first

    page = page.goto(page.url.replace(f"/{first}", "")) and page  # type: ignore[assignment]
    page.keyboard.press("/")
    page.keyboard.type(f"id:{second}")
    page.keyboard.press("Enter")
    expect(page.locator("[data-row]")).to_have_count(1)


def test_the_keyboard_tells_its_keys(open_page: Callable[..., Shown]) -> None:
    shown = open_page()
    page = shown.go("/queues")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_be_hidden()

    page.keyboard.press("?")
    expect(keys).to_be_visible()
    for text in ("search jobs", "the next row", "retry what is selected"):
        expect(keys).to_contain_text(text)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.press("/")  # it goes no further while they are shown
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    page.get_by_role("button", name="help").click()
    page.get_by_role("button", name="Close").click()
    expect(keys).to_be_hidden()
    assert page.url.endswith("/queues")

    page.keyboard.press("/")
    page.wait_for_url("**/jobs#q")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.press("?")  # is typed
    expect(page.locator("#q")).to_have_value("?")
    expect(keys).to_be_hidden()
    assert shown.complaints == []


def test_the_keyboard_retries_the_row_or_what_is_selected(api: Api, open_page: Callable[..., Shown]) -> None:
    first, second, third = api.fail("boom 1"), api.fail("boom 2"), api.fail("boom 3")
    for seconds, id in enumerate((third, second, first), start=1):  # the latest stands first
        api.site.change(id, created_at=api.site.moment(-seconds), finished_at=api.site.moment(-seconds))
    shown = open_page()
    page = shown.go("/jobs?status=failed")

    page.keyboard.press("r")  # nothing is meant
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Retry 1 job?")).to_be_visible()
    expect(page.locator("main")).to_contain_text(third[:8])

    page = shown.go("/jobs?status=failed")
    page.get_by_label(f"Select broken {first}").check()  # has the focus now
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Retry 2 jobs?")).to_be_visible()
    for id in (first, second):
        expect(page.locator("main")).to_contain_text(id[:8])

    page = shown.go(f"/jobs/{first}")
    page.keyboard.press("r")
    expect(page.get_by_role("status")).to_have_text("It is tried again.")


@pytest.mark.requirement("L06")
def test_selected_jobs_are_put_into_another_queue(api: Api, open_page: Callable[..., Shown]) -> None:
    kept, moved = api.send("kept"), api.send("moved")
    shown = open_page()
    page = shown.go("/jobs")
    page.get_by_label(f"Select work {moved}").check()
    page.locator("select[name=queue]").select_option("reports")
    for _ in range(2):  # when it is asked for again, what came before is on the page
        with page.expect_response("**/dashboard/jobs"):
            api.send("another")
    expect(page.locator("select[name=queue]")).to_have_value("reports")  # what was begun is not lost
    page.get_by_role("button", name="Change queue").click()
    expect(page.get_by_role("heading", name="Put 1 job into the queue reports?")).to_be_visible()
    page.get_by_role("button", name="Change queue").click()
    expect(page.locator("h1")).to_contain_text("Change queue: running")
    bulks(api.site.state)
    expect(page.locator("h1")).to_contain_text("Change queue: completed", timeout=20_000)
    assert (api.site.job(moved).queue, api.site.job(kept).queue) == ("reports", "email")
    assert shown.complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_enter_in_the_field_of_the_priority_changes_it(
    api: Api, open_page: Callable[..., Shown], scripts: bool
) -> None:
    job = api.send("ada@example.com")
    page = open_page(java_script_enabled=scripts).go("/jobs")
    page.get_by_label(f"Select work {job}").check()
    page.get_by_label("Priority").fill("7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Give 1 job the priority 7?")).to_be_visible()


def test_colours_stay_as_they_were_chosen(open_page: Callable[..., Shown]) -> None:
    shown = open_page(color_scheme="light")
    page = shown.go()
    page.get_by_label("Colours").select_option("dark")
    page = shown.go("/jobs")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.requirement("L02")
def test_the_search_box_completes_the_word_under_the_cursor(api: Api, open_page: Callable[..., Shown]) -> None:
    failed = api.fail("boom")
    api.send("ada@example.com")
    shown = open_page()
    page = shown.go("/jobs")
    box, options = page.get_by_role("combobox", name="Search"), page.locator("#completions").get_by_role("option")

    box.press_sequentially("type:bro")
    expect(options).to_have_text(["type:broken"])
    assert Axe().run(page).violations_count == 0
    box.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    box.press("Tab")
    expect(box).to_have_value("type:broken ")
    box.press_sequentially("sta")
    expect(options.first).to_contain_text("state:")
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value("type:broken state:")
    expect(options).to_have_count(6)  # and its values at once
    box.press("Escape")
    expect(options).to_have_count(0)
    expect(box).to_be_focused()
    box.press_sequentially("f")
    options.filter(has_text="state:failed").click()
    expect(box).to_have_value("type:broken state:failed ")

    for _ in range(len(" state:failed ")):
        box.press("ArrowLeft")
    box.press("Backspace")  # at the end of the first word
    expect(options).to_have_text(["type:broken"])
    box.press("ArrowDown")
    box.press("Tab")
    expect(box).to_have_value("type:broken state:failed ")
    box.press("Enter")  # nothing is marked: it searches
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(page.locator("[data-row]")).to_contain_text(failed[:8])
    box.clear()
    box.press("ArrowDown")
    expect(options).to_have_count(16)
    box.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")
    box.fill("constructor:")
    expect(options).to_have_count(0)
    assert shown.complaints == []


def test_a_page_of_jobs_is_selected_at_once(api: Api, open_page: Callable[..., Shown]) -> None:
    for n in range(30):
        api.send(str(n))
    shown = open_page(viewport={"width": 1200, "height": 600})
    page = shown.go("/jobs")
    cancel = page.get_by_role("button", name="Cancel")
    expect(cancel).not_to_be_in_viewport()

    page.get_by_label("Select all on this page").check()
    expect(page.locator("tbody input:checked")).to_have_count(25)
    expect(cancel).to_be_in_viewport()  # it goes along while something is selected
    page.locator("tbody input").first.uncheck()
    assert page.evaluate("document.getElementById('every').indeterminate")
    cancel.click()
    expect(page.get_by_role("heading", name="Cancel 24 jobs?")).to_be_visible()

    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("h1")).to_contain_text("Cancel:")
    page.go_back()
    expect(page.get_by_role("heading", name="Cancel 24 jobs?")).to_be_visible()  # no form to be sent again
    assert shown.complaints == []


def test_the_style_sheet_isolates_each_element_and_long_words_are_broken(
    api: Api, open_page: Callable[..., Shown]
) -> None:
    api.fail(f"x{TURNED}{'long' * 300}", tags=[WORD])
    shown = open_page(viewport={"width": 360, "height": 740})
    for path in ("/jobs", "/failures", ""):
        page = shown.go(path)
        error = page.locator("main .error").first
        assert error.evaluate("(one) => getComputedStyle(one).unicodeBidi") == "isolate"
        assert len(error.inner_text()) > 70, path  # by characters, as there is no word to end at
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    kinds = "(all) => [...new Set(all.map((one) => getComputedStyle(one).unicodeBidi))]"
    page = shown.go("/jobs")
    assert page.locator("main :is(a, small, span, code, strong)").evaluate_all(kinds) == ["isolate"]
