"""The page in a real browser: a run watched, scrubbed, paused, signalled and forked; hostile names;
keyboard, phone and a large log."""

from __future__ import annotations

import re

from playwright.sync_api import expect
from tools.recorded import restored
from tools.web.large import many_runs, talkative, wide_run

STATUS = ".title .badge"


def test_a_run_is_watched_paused_signalled_scrubbed_and_forked(window, look):
    restored("failed", window.log).close()
    seen = look(window.open())
    page = seen.page
    expect(page.locator("a.row")).to_have_count(1)
    assert "token" not in page.url, "the token must not stay in the address bar"

    process = window.start("run", "flows.py:reviewed", "--run-id", "mine")
    row = page.locator("a.row", has_text="reviewed")
    expect(row).to_contain_text("running")  # it appears without being asked for
    row.click()
    expect(page.locator(".notice")).to_contain_text("Waits for the signal approve")
    expect(page.get_by_role("button", name="review, suspended")).to_be_visible()
    assert seen.box("collect").startswith("collect, completed")
    assert seen.box("publish") == "publish, waiting"

    page.get_by_role("button", name="Pause").click()
    expect(page.locator(STATUS)).to_have_text(re.compile("paused$"))
    expect(page.locator("#polite")).to_have_text(re.compile("paused"))  # it is said, too
    assert window.status("mine") == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(STATUS)).to_have_text(re.compile("running$"))

    page.get_by_role("tab", name="log").click()
    said = page.locator(".said-line")
    expect(said).to_have_count(2)
    expect(said.last).to_contain_text("somebody has to look at <b>it</b>")

    page.get_by_role("button", name="Signal…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_have_value("approve")
    dialog.get_by_label("Value").fill("not json")
    dialog.get_by_role("button", name="Send").click()
    expect(page.locator("#alerts")).to_contain_text("not JSON")
    dialog.get_by_label("Value").fill('{"by": "me"}')
    dialog.get_by_role("button", name="Send").click()
    expect(page.locator(STATUS)).to_have_text(re.compile("completed$"))
    assert process.wait(timeout=30) == 0
    expect(said).to_have_count(4)  # the review, begun again, and what followed, as it was said
    expect(said.nth(3)).to_contain_text("counteddocuments=7  source=<i>all</i>")
    page.get_by_label("Least severe level").select_option("warning")
    expect(said).to_have_count(2)
    page.get_by_label("Only lines of this step").fill("publish")
    expect(page.locator(".said .empty")).to_have_text("No line fits.")
    page.get_by_label("Least severe level").select_option("debug")
    expect(said).to_have_count(1)
    page.get_by_label("Only lines of this step").fill("")
    expect(said).to_have_count(4)

    page.get_by_role("tab", name="events").click()
    suspended = page.locator(".events .row", has_text="StepSuspended")
    version = int(suspended.locator("span").first.inner_text())
    seen.seek(version)
    expect(page.locator(STATUS)).to_have_text(re.compile("running$"))
    assert seen.box("review").startswith("review, suspended")
    assert seen.box("publish") == "publish, waiting"
    expect(page.locator(".events .row").first).to_contain_text("StepSuspended")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)  # nobody pauses the past
    assert page.url.endswith(f"#/run/mine?at={version}")
    page.get_by_role("tab", name="log").click()
    expect(said).to_have_count(2)  # what had been said by then
    page.get_by_role("button", name="now", exact=True).click()
    expect(page.locator(STATUS)).to_have_text(re.compile("completed$"))
    expect(said).to_have_count(4)

    said.last.get_by_role("button").click()  # its step
    expect(page.locator(".side h1")).to_have_text("publish")
    page.locator(".box", has_text="publish").click()
    expect(page.locator(".side pre", has_text="42")).to_be_visible()  # its output
    page.get_by_role("button", name="Fork…").click()
    expect(dialog.get_by_label("From step")).to_have_value("publish")
    dialog.get_by_label("From step").fill("publsh")
    dialog.get_by_role("button", name="Begin").click()
    expect(page.locator("#alerts")).to_contain_text("'publish'?")
    dialog.get_by_label("From step").fill("publish")
    dialog.get_by_role("button", name="Begin").click()
    seen.until("() => /#\\/run\\/(?!mine)/.test(location.hash)")
    forked = page.url.rpartition("/")[2]
    expect(page.locator(STATUS)).to_have_text(re.compile("completed$"))
    assert window.status(forked) == "completed"

    seen.go(f"/compare/mine/{forked}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Two runs of reviewed")
    expect(page.locator(".compare .row")).to_have_count(3)
    seen.go(f"/compare/r/{forked}")
    expect(page.locator(".notice")).to_contain_text("first differ")


def test_names_are_text_wherever_they_stand(window, look):
    window.run("hostile", "<i>run</i>", status=1)
    seen = look(window.open())
    page = seen.page
    row = page.locator("a.row")
    expect(row).to_contain_text("<img src=x onerror=alert(1)>")
    row.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator(".notice")).to_contain_text("<b>no</b> good")
    expect(page.locator(".gantt .row").first).to_contain_text("<script>alert(2)</script>")
    for view in ("steps", "events", "log", "figures"):
        page.get_by_role("tab", name=view).click()
        expect(page.locator(f"#view-{view}")).to_contain_text("script>alert(2)")
    page.locator(".box").nth(2).click()
    expect(page.locator(".side h1")).to_have_text("\\u202egpj.exe")  # it turns nothing around
    page.get_by_role("tab", name="log").click()
    expect(page.locator(".said-line.error")).to_contain_text("<img src=x onerror=alert(6)>")
    page.locator(".said-line summary").click()
    expect(page.locator(".said-line pre")).to_have_text("</pre>\n<script>alert(7)</script>")
    page.get_by_role("tab", name="events").click()
    page.locator(".events .row").first.click()
    page.get_by_role("button", name="Compare…").click()
    page.get_by_role("button", name="Not now").click()
    seen.go("/compare/%3Ci%3Erun%3C%2Fi%3E/%3Ci%3Erun%3C%2Fi%3E?va=5")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    seen.go("/run/%3Cscript%3Ealert(5)%3C%2Fscript%3E")
    expect(page.locator("#main")).to_contain_text("no run with the id or name '<script>alert(5)")
    made = (
        "() => [document.images.length, document.scripts.length,"
        " document.querySelectorAll('main b b, main i i, main script').length]"
    )
    assert page.evaluate(made) == [0, 1, 0]
    assert page.evaluate("() => { try { document.body.innerHTML = 'x' } catch { return true } }")
    (refused,) = seen.trouble
    assert "TrustedHTML" in refused, "the browser must not let text become markup"
    seen.trouble.clear()


def test_what_a_visitor_without_the_token_and_a_reader_may_do(window, look):
    restored("failed", window.log).close()
    address = window.open("--read-only")
    seen = look(address)
    seen.page.locator("a.row").click()
    expect(seen.page.get_by_role("button", name="Compare…")).to_be_visible()
    for action in ("Resume", "Fork…", "Pause"):
        expect(seen.page.get_by_role("button", name=action)).to_have_count(0)
    expect(seen.page.locator("#readonly")).to_be_visible()
    stranger = look(address.partition("#")[0])
    expect(stranger.page.locator("h1")).to_have_text("This window needs its address")
    seen.page.reload()
    expect(seen.page.locator(STATUS)).to_be_visible()  # who has had it needs it no more


def test_keyboard_phone_and_a_large_log(window, look):
    many_runs(window.log, 3000)
    wide_run(window.log, 1000)
    talkative(window.log, "wide", 450)
    address = window.open()
    seen = look(address, reduced_motion="reduce")
    page = seen.page
    expect(page.locator(".filters .soft").last).to_have_text("3,001 runs")
    assert page.locator("a.row").count() < 60
    page.get_by_role("searchbox").fill("training 00299")
    expect(page.locator(".filters .soft").last).to_have_text("0 of 3,001 runs")
    page.get_by_role("searchbox").fill("training run-00299")
    expect(page.locator(".filters .soft").last).to_have_text("2 of 3,001 runs")
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name=re.compile("^failed")).click()
    expect(page.locator(".filters .soft").last).to_have_text("429 of 3,001 runs")
    page.get_by_role("button", name=re.compile("^failed")).click()
    page.locator("a.row").first.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    expect(page.locator("a.row:focus")).to_have_attribute("aria-rowindex", "3000")
    page.keyboard.press("End")
    page.keyboard.press("Enter")  # the oldest: the wide one or the first
    expect(page.locator(".time")).to_be_visible()

    seen.go("/run/wide")
    expect(page.locator(".panel .soft").first).to_have_text("3,002 steps in 5 groups")
    expect(page.locator(".notice")).to_contain_text("its process has ended")
    assert seen.box("parse") == "parse \u00d7 1,000, 1000 completed"
    page.locator(".box").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")  # the steps of that box
    expect(page.locator(".steps .list")).to_have_attribute("aria-rowcount", "1000")
    page.get_by_role("tab", name="steps").press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".said-line")).to_have_count(200)
    expect(page.locator(".said-line").last).to_be_in_viewport()
    page.get_by_role("button", name="Earlier lines").press("Enter")
    expect(page.locator(".said-line")).to_have_count(400)
    page.get_by_role("button", name="Earlier lines").press("Enter")
    expect(page.locator(".said-line")).to_have_count(450)
    expect(page.get_by_role("button", name="Earlier lines")).to_be_hidden()
    assert page.locator(".said-line .what").all_inner_texts() == [f"line {n}" for n in range(450)]
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    seen.until(
        "() => document.querySelector('.time .told').innerText.includes('PipelineSubmitted')"
    )
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute(
        "aria-valuetext", re.compile("event 2 of 6,0.*PipelineClaimed")
    )
    assert page.evaluate("() => document.getAnimations().length") == 0

    hidden = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    phone = look(address, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    for place in ("/", "/run/wide", "/compare/run-000001/run-000006"):
        phone.go(place)
        expect(phone.page.locator(".row").first).to_be_visible()
        assert phone.page.evaluate(hidden) <= 0, f"{place} is wider than a phone"
        for tab in phone.page.get_by_role("tab").all():
            tab.click()
            assert phone.page.evaluate(hidden) <= 0, f"{place}: a tab is wider than a phone"
