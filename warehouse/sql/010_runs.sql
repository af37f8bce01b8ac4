create table runs (
    run_id varchar not null,
    flow varchar not null,
    status varchar not null check (status in ('running', 'completed', 'failed')),
    preset varchar,
    seed bigint,
    code_version varchar,
    config_json varchar,
    started_at timestamp,
    finished_at timestamp,
    host varchar,
    device varchar,
    device_count integer check (device_count >= 0),
    cpu_seconds double check (cpu_seconds >= 0),
    gpu_seconds double check (gpu_seconds >= 0),
    python_version varchar,
    cpu_model varchar,
    cpu_count integer,
    memory_bytes bigint,
    primary key (run_id)
);

comment on table runs is
    'Runs of a flow: one row per run that came to its end. A run that failed or was killed has none.';

comment on column runs.run_id is 'Name of the run; also its folder below runs/<flow>/.';
comment on column runs.flow is 'The flow: curate, train_teacher, pretrain_student, distill_student, evaluate or benchmark; for an experiment (train_eval) the name of the experiment, such as demo.';
comment on column runs.status is 'completed; running and failed are allowed, and no flow writes them.';
comment on column runs.preset is 'Model and training preset, where one was used.';
comment on column runs.seed is 'The seed every random number of the run derives from.';
comment on column runs.code_version is 'Version of this package, with the commit where known.';
comment on column runs.config_json is 'The resolved settings of the run as JSON.';
comment on column runs.started_at is 'Start, UTC. [volatile]';
comment on column runs.finished_at is 'End, UTC. [volatile]';
comment on column runs.host is 'The machine: operating system, architecture, Python. [volatile]';
comment on column runs.device is 'What the models ran on: the name of the accelerator, or cpu; null in runs before schema 2. [volatile]';
comment on column runs.device_count is 'Accelerators that the run used; 0 on a CPU. [volatile]';
comment on column runs.cpu_seconds is 'CPU time, user and system, of the run''s process and of all processes it started on its machine. [volatile]';
comment on column runs.gpu_seconds is 'Accelerators times the seconds that the run held them, as a cluster would bill; 0 on a CPU, null where workers elsewhere had them. [volatile]';
comment on column runs.python_version is 'Version of Python. [volatile]';
comment on column runs.cpu_model is 'Name of the processor. [volatile]';
comment on column runs.cpu_count is 'Processor cores that the run could use. [volatile]';
comment on column runs.memory_bytes is 'Memory of the machine in bytes. [volatile]';
