create table training_steps (
    run_id varchar not null,
    stage varchar not null,
    step integer not null check (step >= 0),
    name varchar not null,
    value double not null,
    primary key (run_id, stage, step, name)
);

comment on table training_steps is
    'Training curves. Grain: run, stage, step, name. A name that ends in _s is wall-clock time and is left out of the content digest.';

comment on column training_steps.run_id is 'The run that wrote the row.';
comment on column training_steps.stage is 'Training stage: base, lora, diffusion_forcing or distill.';
comment on column training_steps.step is 'Optimiser step.';
comment on column training_steps.name is 'What was logged: loss, grad_norm, learning_rate, ...';
comment on column training_steps.value is 'Its value.';
