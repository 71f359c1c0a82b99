"""Flask-Session: a login that outlives the server.

needs-pip: Flask-Session==0.8.0 msgspec==0.22.0 cachelib==0.17.0 Flask==3.1.3 Werkzeug==3.1.9
needs-pip: Jinja2==3.1.6 MarkupSafe==3.0.4 itsdangerous==2.2.0 click==8.5.1 blinker==1.9.0
needs-pip: redis==8.1.0
keeps: yes
"""
from flask import Flask, session
from flask_session import Session
from redis import Redis

from check import PORT, between, equal, kept, run, work

store = Redis(port=PORT, db=3)
app = Flask(__name__)
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=store, PERMANENT_SESSION_LIFETIME=7200)
Session(app)


@app.route("/login/<name>")
def login(name):
    session["name"] = name
    session["basket"] = []
    return "ok"


@app.route("/add/<thing>")
def add(thing):
    session["basket"] = [*session["basket"], thing]
    return "ok"


@app.route("/show")
def show():
    return f"{session.get('name')}: {','.join(session.get('basket', []))}"


@app.route("/logout")
def logout():
    session.clear()
    return "ok"


def browser(cookie=None):
    client = app.test_client()
    if cookie:
        client.set_cookie("session", cookie)
    return client


@work
def a_login_is_stored():
    client = browser()
    equal(client.get("/show").text, "None: ")
    client.get("/login/ada")
    client.get("/add/book")
    client.get("/add/pen")
    equal(client.get("/show").text, "ada: book,pen")
    cookie = client.get_cookie("session").value
    between(store.ttl(f"session:{cookie}"), 7100, 7200)
    store.set("cookie", cookie)


@work
def two_users_are_apart():
    one, two = browser(), browser()
    one.get("/login/bob")
    two.get("/login/eve")
    equal([one.get("/show").text, two.get("/show").text], ["bob: ", "eve: "])
    one.get("/logout")
    equal(one.get("/show").text, "None: ")
    equal(two.get("/show").text, "eve: ")


@kept
def the_login_is_kept():
    cookie = store.get("cookie").decode()
    client = browser(cookie)
    equal(client.get("/show").text, "ada: book,pen")
    client.get("/add/ink")
    equal(client.get("/show").text, "ada: book,pen,ink")
    client.get("/logout")
    equal(store.exists(f"session:{cookie}"), 0)


run("Flask-Session")
